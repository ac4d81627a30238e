"""What tests of Tekton and of components need: see docs/testing.md.

Time that can be moved is here; control planes, faults, histories and the simulation are modules of their own.
"""

from tekton.testing.clock import ManualClock, VirtualTimeLoop, current_clock, virtual_time

__all__ = ["ManualClock", "VirtualTimeLoop", "current_clock", "virtual_time"]
