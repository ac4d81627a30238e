"""Numbers once a minute: the rows of the kind "sample".

What is sampled has a name (`machine`, `component/rhetor`, `metrics`), which is the key of its rows; the body of a row
is an object of numbers. A source that fails leaves a gap of its own, and nothing else.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.history.store import FOREVER, Row, TelemetryStore

INTERVAL: Final = 60.0
"""Seconds between two samples."""

Numbers = Mapping[str, float]
Source = Callable[[], Iterable[tuple[str, Numbers]]]

_logger = logging.getLogger("tekton.history")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, float]).decode


class Table(NamedTuple):
    """How numbers were: each row a time (wall-clock seconds) and, in order of the *columns*, what they were then."""

    columns: Sequence[str]
    rows: Sequence[tuple[float, Sequence[float | None]]]


class Sampler:
    """Asks every one of *sources*, and keeps what it says in *store*."""

    def __init__(self, store: TelemetryStore, sources: Sequence[Source], clock: Clock = SYSTEM_CLOCK) -> None:
        self._store = store
        self._sources = sources
        self._clock = clock
        self._failed: set[int] = set()

    def sample(self) -> None:
        """Take a sample of everything; to be called once every INTERVAL."""
        at = self._clock.time()
        rows = [Row(at, name, body) for name, body in self._all()]
        # A row that says nothing but that we were there.
        self._store.append("sample", rows or [Row(at, "", b"{}")])

    def _all(self) -> Iterable[tuple[str, bytes]]:
        for number, source in enumerate(self._sources):
            try:
                found = [(name, _encode(_finite(numbers))) for name, numbers in source()]
            except Exception:
                if number not in self._failed:
                    _logger.exception("a source of samples fails; that is not repeated")
                self._failed.add(number)
            else:
                self._failed.discard(number)
                yield from found


async def nearest(store: TelemetryStore, at: float) -> dict[str, dict[str, float]]:
    """The last sample of everything that was sampled within a minute and a half before *at*, by name."""
    rows = await store.latest("sample", at, at - 1.5 * INTERVAL)
    return {row.key: _decode(row.body) for row in rows if row.key}


async def names(store: TelemetryStore) -> list[str]:
    """What there are samples of."""
    return [row.key for row in await store.latest("sample", FOREVER) if row.key]


async def series(
    store: TelemetryStore, name: str, since: float, until: float, *, columns: Sequence[str] = (), limit: int = 1440
) -> Table:
    """The newest *limit* samples of *name* with `since <= at < until`, oldest first; None is a gap.

    Without *columns* all that there are, in order of their names.
    """
    rows = await store.read("sample", since, until, limit, key=name)
    found = [(row.at, _decode(row.body)) for row in reversed(rows)]
    wanted = list(columns) or sorted({column for _, numbers in found for column in numbers})
    return Table(wanted, [(at, [numbers.get(column) for column in wanted]) for at, numbers in found])


def _finite(numbers: Numbers) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
