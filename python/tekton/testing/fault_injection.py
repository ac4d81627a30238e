"""What a test can do to a component: end it, stop it, slow it down, let it fail.

    await faults.kill("greeter")     # its process ends without a word
    faults.pause("greeter")          # neither heartbeats nor answers, until `resume`
    faults.slow("greeter", 2.0)      # each answer takes two seconds longer
    faults.errors("greeter", 0.5)    # half of its answers are errors

A target is the id of a component of an `InMemorySystem`, or a `tekton.Component` that runs in this process. What a kill
interrupts is lost; the other faults are for what comes after them. Rates are drawn from the seed.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

from tekton.testing.interference import Interference

if TYPE_CHECKING:
    from tekton.component import Component


class Victim(Protocol):
    """What faults are done to."""

    @property
    def interference(self) -> Interference:
        """What stands before it."""
        ...

    async def kill(self, reason: str) -> None:
        """End the process at once."""
        ...


class Faults:
    """See the module. `heal` takes everything back that can be taken back."""

    def __init__(self, named: "Callable[[str], Victim] | None" = None, *, seed: int = 0) -> None:
        self._named = named
        self._rng = Random(seed)
        self._served: dict[int, Victim] = {}
        self._touched: dict[int, Interference] = {}

    async def kill(self, target: "str | Component", reason: str = "killed by signal 9 (SIGKILL)") -> None:
        """End the process of *target*: what it does is lost, and it says nothing to anybody.

        In an `InMemorySystem` it is FAILED with *reason* at once, as its exit is seen. A `Component` is missed when its
        lease runs out; it can be started again, as another instance. Raises RuntimeError when it does not run.
        """
        await self._victim(target).kill(reason)

    def pause(self, target: "str | Component") -> None:
        """Let *target* stand still, as after SIGSTOP: no heartbeats, no answers. Its successor runs."""
        self._interference(target).pause()

    def resume(self, target: "str | Component") -> None:
        """Let a paused *target* go on."""
        self._interference(target).resume()

    def slow(self, target: "str | Component", seconds: float) -> None:
        """Let each request to *target* take *seconds* longer; 0 ends it."""
        if seconds < 0:
            raise ValueError("nothing is faster than at once")
        self._interference(target).delay = seconds

    def errors(self, target: "str | Component", rate: float) -> None:
        """Let that share of the requests to *target* fail: with InjectedFault, over HTTP with status 500. 0 ends it."""
        if not 0 <= rate <= 1:
            raise ValueError("a rate is between 0 and 1")
        self._interference(target).error_rate = rate

    def heal(self, target: "str | Component | None" = None) -> None:
        """Take back what was done to *target*, or to everybody. The dead stay dead."""
        touched = self._touched.values() if target is None else [self._interference(target)]
        for interference in list(touched):
            interference.heal()

    def _interference(self, target: "str | Component") -> Interference:
        interference = self._victim(target).interference
        self._touched[id(interference)] = interference
        return interference

    def _victim(self, target: "str | Component") -> Victim:
        if not isinstance(target, str):
            from tekton.testing.served_component import ServedComponent

            served = self._served.get(id(target))
            if served is None:
                served = self._served[id(target)] = ServedComponent(target, self._rng)
            return served
        if self._named is None:
            raise ValueError(f"{target!r} is a name, and these faults belong to no system: name a Component")
        return self._named(target)
