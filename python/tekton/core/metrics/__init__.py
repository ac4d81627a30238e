"""Metrics: what is measured (`metrics`), how it is exposed (`exposition`), and which ones Tekton has (`catalogue`)."""
