"""The component records and the feed of their changes, as watchers on the network need them: already encoded."""

from collections.abc import Callable, Sequence

from tekton.core.events import ChangeFeed, Subscription
from tekton.core.lifecycle import ComponentRecord
from tekton.gateway.request import encode
from tekton.utils.tekton_errors import CursorExpiredError


class ChangeSource:
    """A feed together with the records that it changes.

    *records* returns the records as they are at `feed.revision`; both are read on the event loop, between two
    publications.
    """

    def __init__(self, feed: ChangeFeed, records: Callable[[], Sequence[ComponentRecord]]) -> None:
        self.feed = feed
        self._records = records
        self._snapshot: tuple[int, bytes] | None = None

    def snapshot(self) -> tuple[int, bytes]:
        """The revision and all records as a JSON array, encoded once per revision however many ask."""
        if self._snapshot is None or self._snapshot[0] != self.feed.revision:
            self._snapshot = (self.feed.revision, encode(self._records()))
        return self._snapshot

    def resume(self, since: int | None) -> Subscription | None:
        """The changes after *since*; None when that position is not known here (a snapshot is needed)."""
        try:
            return self.feed.subscribe(since) if since is not None else None
        except CursorExpiredError:
            return None
