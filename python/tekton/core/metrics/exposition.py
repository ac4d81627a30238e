"""Metrics as text: the format of Prometheus (0.0.4), and OpenMetrics 1.0, whichever is asked for.

A scrape asks the readers on the event loop, in slices of 1 ms, and makes the text in a thread, in pieces of about one
millisecond: for longer the loop never waits for the interpreter. It is kept for a second, and all who ask meanwhile
share it. The text is ours because that of prometheus-client takes several times as long; what it says is the same, as
its own parser finds.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tekton.background import BackgroundGroup
from tekton.core.metrics.children import Distribution, Value
from tekton.core.metrics.family import LabelValues
from tekton.core.metrics.metrics import Metric, MetricsManager, MetricType, Snapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as PrometheusFamily

Format = Literal["prometheus", "openmetrics"]

MEDIA_TYPES: Final[dict[Format, str]] = {
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

SLICE: Final = 0.001
"""Seconds for which readers are asked without letting others run."""

KEPT: Final = 1.0
"""Seconds for which a text is given to others."""

PATIENCE: Final = 3.0
"""Seconds for which a scrape waits for the collectors of others; one that hangs is not asked again meanwhile."""

PIECE: Final = 500
"""Lines that are made without letting others run."""


class Text(NamedTuple):
    """An answer to a scrape."""

    body: bytes
    media_type: str


class Exposition:
    """The text of *metrics* for whoever asks, made at most once in *kept* seconds for each format."""

    def __init__(self, metrics: MetricsManager, kept: float = KEPT) -> None:
        self._metrics = metrics
        self._kept = kept
        self._texts: dict[Format, tuple[float, Text]] = {}
        self._underway: dict[Format, asyncio.Task[Text]] = {}
        self._asked: dict[Format, asyncio.Future[bytes]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed = -math.inf
        self._group = BackgroundGroup("metrics")

    async def scrape(self, accept: str | None = None) -> Text:
        """The text in the format that *accept*, the header, prefers."""
        wanted = negotiate(accept)
        at, text = self._texts.get(wanted, (0.0, None))
        if text is not None and self._metrics.clock.monotonic() - at < self._kept:
            return text
        task = self._underway.get(wanted)
        if task is None or task.done():
            task = self._underway[wanted] = self._group.spawn(self._make(wanted), wanted)
        # Whoever goes away must not take the text from the others.
        return await asyncio.shield(task)

    async def refresh(self, *, kept: float | None = None) -> None:
        """Let the readers be asked, unless that was done within *kept* seconds; those who wait share it."""
        if self._metrics.clock.monotonic() - self._refreshed < (self._kept if kept is None else kept):
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._group.spawn(self._refresh(), "refresh")
        await asyncio.shield(self._refreshing)

    async def stop(self) -> None:
        """Make nothing any more; who waits for a text is cancelled."""
        await self._group.stop()

    async def _refresh(self) -> None:
        await refresh(self._metrics)
        self._refreshed = self._metrics.clock.monotonic()

    async def _make(self, wanted: Format) -> Text:
        await self.refresh()
        pieces = render_pieces(self._metrics.snapshot(), wanted)
        made = [await self._foreign(wanted)]
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            made.append(piece)
        text = Text(b"".join(made), MEDIA_TYPES[wanted])
        self._texts[wanted] = (self._metrics.clock.monotonic(), text)
        return text

    async def _foreign(self, wanted: Format) -> bytes:
        asked = self._asked.get(wanted)
        if asked is None or asked.done():
            asked = asyncio.get_running_loop().run_in_executor(None, self._ask_collectors, wanted)
            self._asked[wanted] = asked
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE)
        if not done:
            self._metrics.has_failed("collectors of prometheus-client", TimeoutError(f"no end after {PATIENCE:g} s"))
            return b""
        return asked.result()

    def _ask_collectors(self, wanted: Format) -> bytes:
        made = []
        for family in self._metrics.foreign_families():
            try:
                made.append(render_foreign([family], wanted))
            except Exception as error:  # what its collector has put into it; the others are not to suffer for that
                self._metrics.has_failed(family.name, error)
        return b"".join(made)


async def refresh(metrics: MetricsManager) -> None:
    """Ask the readers of *metrics*, with a pause for others every `SLICE` seconds."""
    monotonic = metrics.clock.monotonic
    until = monotonic() + SLICE
    for _ in metrics.refresh():
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + SLICE


def negotiate(accept: str | None) -> Format:
    """The format for an Accept header: that of Prometheus, unless OpenMetrics 1.0 is preferred to it."""
    weights: dict[Format, float] = {}
    for part in (accept or "").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        if name == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            weights["openmetrics"] = max(weights.get("openmetrics", 0.0), _weight(given))
        elif name in ("text/plain", "text/*", "*/*"):
            weights["prometheus"] = max(weights.get("prometheus", 0.0), _weight(given))
    return "openmetrics" if weights.get("openmetrics", 0.0) > weights.get("prometheus", 0.0) else "prometheus"


def _weight(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def render(snapshot: Snapshot, wanted: Format) -> bytes:
    """The text of *snapshot*."""
    return b"".join(render_pieces(snapshot, wanted))


def render_foreign(families: "Sequence[PrometheusFamily]", wanted: Format) -> bytes:
    """The text of prometheus-client for *families*, without the end that OpenMetrics has."""
    if not families:
        return b""
    from prometheus_client import exposition
    from prometheus_client.openmetrics import exposition as openmetrics

    collected = _Families(families)
    if wanted == "openmetrics":
        text: bytes = openmetrics.generate_latest(collected)  # type: ignore[no-untyped-call]
        return text.removesuffix(b"# EOF\n")
    return exposition.generate_latest(collected)


class _Families:
    """Looks like a registry to those who make text."""

    def __init__(self, families: "Sequence[PrometheusFamily]") -> None:
        self._families = families

    def collect(self) -> "Iterable[PrometheusFamily]":
        return self._families


def render_pieces(snapshot: Snapshot, wanted: Format) -> Iterator[bytes]:
    """The text of *snapshot*, `PIECE` lines at a time."""
    lines = _lines(snapshot, wanted)
    while piece := list(islice(lines, PIECE)):
        yield "\n".join([*piece, ""]).encode("utf-8", "replace")


def _lines(snapshot: Snapshot, wanted: Format) -> Iterator[str]:
    for metric, values in snapshot:
        yield from _head(metric, wanted)
        yield from _samples(metric, values(), wanted)
    if wanted == "openmetrics":
        yield "# EOF"


def _head(metric: Metric, wanted: Format) -> Iterator[str]:
    name = metric.family if wanted == "openmetrics" else metric.exposed
    description = metric.description.replace("\\", "\\\\").replace("\n", "\\n")
    if wanted == "openmetrics":
        description = description.replace('"', '\\"')
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {metric.metric_type.value}"
    if wanted == "openmetrics" and metric.unit:
        yield f"# UNIT {name} {metric.unit}"


def _samples(metric: Metric, values: Iterable[tuple[LabelValues, Value]], wanted: Format) -> Iterator[str]:
    name = metric.exposed
    bounds = [f'le="{_bound(bound)}"' for bound in (*metric.buckets, math.inf)]
    for labels, value in values:
        pairs = [f'{label}="{_escaped(text)}"' for label, text in zip(metric.labels, labels, strict=True)]
        own = f"{{{','.join(pairs)}}}" if pairs else ""
        if not isinstance(value, Distribution):
            yield f"{name}{own} {_number(value)}"
            continue
        if metric.metric_type is MetricType.HISTOGRAM:
            seen = 0
            for bound, count in zip(bounds, value.buckets, strict=True):
                seen += count
                yield f"{name}_bucket{{{','.join((*pairs, bound))}}} {seen}"
            if wanted == "openmetrics" and (value.sum < 0 or metric.buckets[0] < 0):
                continue  # to OpenMetrics a sum is a counter: where it may go down there must be none, nor a count
        yield f"{name}_count{own} {value.count}"
        if wanted == "prometheus" or value.sum >= 0:
            yield f"{name}_sum{own} {_number(value.sum)}"


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text


def _bound(value: float) -> str:
    """With a decimal point, as OpenMetrics wants it, and in both formats alike: it tells buckets apart."""
    return "+Inf" if value == math.inf else repr(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def prometheus_families(snapshot: Snapshot) -> "Iterator[PrometheusFamily]":
    """*snapshot* as prometheus-client has it."""
    from prometheus_client.metrics_core import Metric as PrometheusFamily

    for metric, read in snapshot:
        family = PrometheusFamily(metric.family, metric.description, metric.metric_type.value, metric.unit)
        for labels, value in read():
            own = dict(zip(metric.labels, labels, strict=True))
            for suffix, more, number in _parts(metric, value):
                family.add_sample(f"{metric.exposed}{suffix}", {**own, **more}, number)
        yield family


def _parts(metric: Metric, value: Value) -> Iterator[tuple[str, dict[str, str], float]]:
    """The samples of one label set: the suffix of the name, further labels, the number."""
    if not isinstance(value, Distribution):
        yield "", {}, value
        return
    seen = 0
    for bound, count in zip((*metric.buckets, math.inf), value.buckets, strict=False):
        seen += count
        yield "_bucket", {"le": _bound(bound)}, float(seen)
    yield "_count", {}, float(value.count)
    yield "_sum", {}, value.sum
