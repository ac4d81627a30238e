"""What tests of Tekton and of components need: time that can be moved."""

from tekton.testing.clock import ManualClock, VirtualTimeLoop, current_clock, virtual_time

__all__ = ["ManualClock", "VirtualTimeLoop", "current_clock", "virtual_time"]
