"""The streams in a file, for tests in virtual time."""

from tekton.bus.streams.sqlite_store import SqliteStreamStore

__all__ = ["AtOnceStore"]


class AtOnceStore(SqliteStreamStore):
    """In a file, but without a thread, which would race against virtual time."""

    threaded = False
