"""What a test does to one component: it stands still, is slow, or answers with errors."""

import asyncio
from random import Random


class InjectedFault(Exception):  # noqa: N818 - a fault is what it is
    """What a component fails with because `Faults.errors` says so."""

    def __init__(self, component_id: str) -> None:
        super().__init__(f"{component_id} fails because the test says so")
        self.component_id = component_id


class Interference:
    """Stands before whatever one component does. Without faults it lets everything pass at once."""

    def __init__(self, component_id: str, rng: Random) -> None:
        self.component_id = component_id
        self.delay = 0.0
        self.error_rate = 0.0
        self._rng = rng
        self._going = asyncio.Event()
        self._going.set()

    @property
    def paused(self) -> bool:
        """True while the component stands still."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Let nothing pass until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Let pass what waits."""
        self._going.set()

    def heal(self) -> None:
        """Interfere no more."""
        self.delay = self.error_rate = 0.0
        self.resume()

    async def moving(self) -> None:
        """Wait while the component is paused."""
        await self._going.wait()

    async def pass_request(self) -> None:
        """Wait as a request has to; raises InjectedFault when it is to fail."""
        await self.moving()
        if self.delay:
            await asyncio.sleep(self.delay)
            await self.moving()
        if self._rng.random() < self.error_rate:
            raise InjectedFault(self.component_id)
