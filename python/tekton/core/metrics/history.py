"""How metrics were: the samples that were taken, in fixed memory.

A label set has one series: the value of a counter or gauge, the count of a histogram or summary. So a rate is the
difference of two values; a counter that has become smaller has begun anew.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from tekton.clock import Clock
from tekton.core.metrics.children import Distribution, Value
from tekton.core.metrics.family import LabelValues
from tekton.core.series import Resolution, SeriesSet, Window, position

MAX_SERIES: Final = 500
"""Label sets that have a history. When there are more, those that are silent make room."""

_HOUR: Final = 360
_DAY: Final = Resolution(60.0, 1440)


class History:
    """The history of the label sets, sampled every *interval* seconds: 360 samples of those, and one day of minutes."""

    def __init__(self, clock: Clock, interval: float = 10.0) -> None:
        self._clock = clock
        fine = Resolution(interval, _HOUR)
        self._series = SeriesSet((fine, _DAY) if interval < _DAY.step else (fine,), limit=MAX_SERIES)

    @property
    def refused(self) -> int:
        """How many samples found no room."""
        return self._series.refused

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
        return self._series.size_bytes

    def append(self, families: Iterable[tuple[str, Sequence[tuple[LabelValues, Value]]]]) -> None:
        """Take in one sample of each label set."""
        values = {
            _key(name, labels): float(value.count) if isinstance(value, Distribution) else value
            for name, label_sets in families
            for labels, value in label_sets
        }
        self._series.append(position(self._clock), values)

    def windows(
        self,
        name: str,
        label_sets: Iterable[LabelValues],
        since: float | None = None,
        until: float | None = None,
        resolution: float | None = None,
    ) -> dict[LabelValues, Window]:
        """What was from the position *since* to *until* (None: now), of those that have a history.

        None for *since*: as far as the samples of every interval go.
        """
        end = position(self._clock) if until is None else until
        finest = self._series.resolutions[0]
        begin = end - finest.reach + finest.step if since is None else since
        keys = {_key(name, labels): labels for labels in label_sets}
        return {keys[key]: window for key, window in self._series.window(keys, begin, end, resolution).items()}


def _key(name: str, labels: LabelValues) -> str:
    return repr((name, *labels))
