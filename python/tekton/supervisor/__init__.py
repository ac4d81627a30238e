"""Child processes: the guard that owns them, its client in the control plane, probes, logs, and the supervisor.

The guard (`guard.py` and what it imports) runs in a process of its own and uses the standard library only.
"""
