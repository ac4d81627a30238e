"""What a bus in this process asks of those who keep its streams; `Streams` is one."""

from collections.abc import Sequence
from typing import Protocol

from tekton.bus.bus import ConsumerSettings, Consumption, Receipt, StreamInfo, StreamSettings, Subscription
from tekton.bus.envelope import Envelope


class Keeper(Protocol):
    """See `Bus` for what is not said here."""

    def stream_of(self, subject: str) -> str | None:
        """The stream that takes *subject*."""
        ...

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """Store what is published to subjects of streams. It is on the disk when this returns."""
        ...

    def replay(
        self, stream: str, *, since: int | None = None, at: float | None = None, pattern: str = ">"
    ) -> Subscription:
        """See Bus."""
        ...

    def consume(self, stream: str, consumer: str, settings: ConsumerSettings | None, owner: str = "") -> Consumption:
        """See Bus. One that is made by this belongs to *owner*."""
        ...

    def settings_of(self, stream: str, consumer: str) -> ConsumerSettings | None:
        """As `SharedBus.settings_of`."""
        ...

    def owner_of(self, stream: str, consumer: str) -> str:
        """To whom a consumer belongs; empty for one that is everybody's, or is not there."""
        ...

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """See Bus."""
        ...

    async def delete_stream(self, name: str) -> None:
        """See Bus."""
        ...

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:
        """See Bus."""
        ...

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """See Bus."""
        ...
