"""Streams that cannot be used: they are switched off, or nothing is known of them because `bus.db` cannot be read."""

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from tekton.auth.roles import INBOX, RESERVED, names_requests
from tekton.bus.bus import ConsumerSettings, Consumption, Receipt, StreamInfo, StreamSettings, Subscription
from tekton.bus.envelope import Envelope
from tekton.utils.tekton_errors import TektonError

UNKNOWN: Final = "unknown"
"""What stands for the stream that might take a subject."""


class RefusedStreams:
    """A Keeper that refuses everything with a new *error*, except to say that there are no streams.

    With *all_kept*, whatever a stream might have taken is refused as well: it must not be passed on as if nobody had
    wanted it kept. Requests and answers go on.
    """

    def __init__(self, error: Callable[[], TektonError], *, all_kept: bool) -> None:
        self._error = error
        self._all_kept = all_kept

    def stream_of(self, subject: str) -> str | None:
        """See Keeper."""
        return UNKNOWN if self._all_kept and _might_be_kept(subject) else None

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    def replay(
        self,
        stream: str,  # noqa: ARG002
        *,
        since: int | None = None,  # noqa: ARG002
        at: float | None = None,  # noqa: ARG002
        pattern: str = ">",  # noqa: ARG002
    ) -> Subscription:
        """See Keeper."""
        self._refuse()

    def consume(
        self,
        stream: str,  # noqa: ARG002
        consumer: str,  # noqa: ARG002
        settings: ConsumerSettings | None,  # noqa: ARG002
        owner: str = "",  # noqa: ARG002
    ) -> Consumption:
        """See Keeper."""
        self._refuse()

    def settings_of(self, stream: str, consumer: str) -> ConsumerSettings | None:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    def owner_of(self, stream: str, consumer: str) -> str:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    async def delete_stream(self, name: str) -> None:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:  # noqa: ARG002
        """See Keeper."""
        if self._all_kept:
            self._refuse()
        return []

    async def delete_consumer(self, stream: str, consumer: str) -> None:  # noqa: ARG002
        """See Keeper."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise self._error()


def _might_be_kept(subject: str) -> bool:
    """Whether a stream may take *subject*. Those that take requests name them, and are few: requests go on."""
    return subject.partition(".")[0] not in (RESERVED, INBOX) and not names_requests(subject)
