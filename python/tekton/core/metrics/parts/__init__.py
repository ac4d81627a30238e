"""The chapters of the list of metrics; see `core/metrics/catalogue.py`."""
