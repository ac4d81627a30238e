"""What tests of Tekton and of components need: see docs/testing.md.

    InMemorySystem                a system of components that are functions, in virtual time
    Transition                    what happened to one of them
    Faults, InjectedFault         what a test does to a component
    virtual_time                  makes an async test one that runs in virtual time
    VirtualTimeLoop, ManualClock  what it runs on
    current_clock                 the clock of the running one
    free_port                     a port for what a test starts

Control planes with a network, histories and the simulation are modules of their own. The names above are loaded when
first used: pytest imports its plugin, and so this, in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tekton.testing.clock import ManualClock as ManualClock
    from tekton.testing.clock import VirtualTimeLoop as VirtualTimeLoop
    from tekton.testing.clock import current_clock as current_clock
    from tekton.testing.clock import virtual_time as virtual_time
    from tekton.testing.fault_injection import Faults as Faults
    from tekton.testing.interference import InjectedFault as InjectedFault
    from tekton.testing.memory_system import InMemorySystem as InMemorySystem
    from tekton.testing.ports import free_port as free_port
    from tekton.testing.transitions import Transition as Transition

_HOMES = {
    "Faults": "tekton.testing.fault_injection",
    "InMemorySystem": "tekton.testing.memory_system",
    "InjectedFault": "tekton.testing.interference",
    "ManualClock": "tekton.testing.clock",
    "Transition": "tekton.testing.transitions",
    "VirtualTimeLoop": "tekton.testing.clock",
    "current_clock": "tekton.testing.clock",
    "free_port": "tekton.testing.ports",
    "virtual_time": "tekton.testing.clock",
}

__all__ = [
    "Faults",
    "InMemorySystem",
    "InjectedFault",
    "ManualClock",
    "Transition",
    "VirtualTimeLoop",
    "current_clock",
    "free_port",
    "virtual_time",
]

if not TYPE_CHECKING:  # a type checker must go on reporting names that do not exist

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
