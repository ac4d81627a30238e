"""A `tekton.Component` that runs in this process, as `Faults` reach it.

Faults stand where the outside world meets the component, at its boundary: before its gateway, and before its requests
to the control plane. Its own code is not touched, and the standard routes (health, readiness) suffer as the others do.
"""

from random import Random

from tekton.component import Component
from tekton.testing.interference import Interference


class ServedComponent:
    """See the module. After a restart of the component it interferes with the new instance."""

    def __init__(self, component: Component, rng: Random) -> None:
        self._component = component
        self._interference = Interference(component.component_id, rng)

    @property
    def interference(self) -> Interference:
        """What stands before the running instance. Raises RuntimeError when none runs."""
        if self._component.port is None:
            raise RuntimeError(f"{self._component.component_id} does not run")
        self._component.boundary.interceptor = self._interference
        return self._interference

    async def kill(self, reason: str) -> None:  # noqa: ARG002 - nobody is told
        """See `Faults.kill`. A connection that is open is answered with 503, and closed."""
        try:
            await self._component.crash()
        finally:
            self._interference.resume()
