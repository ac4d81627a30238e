"""The verb logs: what components have printed, from the control plane, or from the files when it does not run.

Lines of several components are told apart by the name in front. Past lines stand in the order of the times that they
carry; those without any come first, component by component. New lines come as they are written.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import click

from tekton.cli.client import Client, component_path, connect, data_dir, load_config
from tekton.cli.components import unknown_component
from tekton.cli.instance import Instance
from tekton.cli.log_view import machine_readable, merged, readable
from tekton.cli.names import expand_running
from tekton.cli.options import Target, duration, target_options
from tekton.cli.problems import NOT_FOUND, FileProblemError, report
from tekton.cli.render import paint_name, say
from tekton.cli.tail import follow_file
from tekton.cli.watch import reconnecting
from tekton.clock import SYSTEM_CLOCK
from tekton.core.units import component_of, unit_name
from tekton.supervisor.log_lines import LEVELS, LineFilter
from tekton.supervisor.logs import tail
from tekton.utils.log_query import LogQueryError, Query, query_of
from tekton.utils.tekton_errors import ComponentNotFoundError, ConfigurationError, TektonError, TransportError

CONTROL_PLANE = "tekton"
"""The name under which the log of the control plane itself is known."""

_MOST = 10_000
_FEW = 100
_WAITING = 1000
"""Lines that have been read and not printed: who prints slowly reads slowly."""


class Line(NamedTuple):
    """A line of the log of a unit; without `text`, the end of the log, and `error` what ended it."""

    unit: str
    text: str | None
    error: TektonError | None = None


class Asked(NamedTuple):
    """Which lines are wanted: the last `lines`, of at least `level`, since then, from before the last start."""

    lines: int
    level: str | None = None
    since: float | None = None
    previous: bool = False
    query: str = ""

    def only(self, unit: str) -> LineFilter:
        """What passes the lines of *unit* that are wanted. Raises LogQueryError."""
        now = SYSTEM_CLOCK.time()
        return LineFilter(query_of(self.query, level=self.level, since=self.since, now=now), unit)

    def parameters(self) -> dict[str, Any]:
        """The same for the API."""
        asked = {
            "query": self.query or None,
            "level": self.level,
            "since": self.since,
            "previous": 1 if self.previous else None,
        }
        return {"tail": self.lines} | {name: value for name, value in asked.items() if value is not None}


class LogSource(Protocol):
    """Where log lines come from."""

    def units(self) -> dict[str, list[str]]:
        """The components that can have a log, each with its units: itself, and further replicas."""
        ...

    def expand(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """*names* with the components of every `@group` in its place, as far as groups are known."""
        ...

    def tail(self, unit: str, asked: Asked) -> list[str] | None:
        """The last lines; None when the unit has no log."""
        ...

    def never_started(self, unit: str) -> bool:
        """True when a unit without a log has none because it has not been started."""
        ...

    def follow(self, unit: str, asked: Asked) -> Iterator[str]:
        """The last lines, and those to come, for ever."""
        ...


class ControlPlaneLogs:
    """The logs through the API."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._unborn: set[str] = set()

    def units(self) -> dict[str, list[str]]:
        views = self._client.get("/api/system")["components"]
        self._unborn = {view["component_id"] for view in views if view["state"] == "unknown"}
        return {
            view["component_id"]: [
                unit_name(view["component_id"], number) for number in range(max(view.get("replicas", 1), 1))
            ]
            for view in views
        }

    def expand(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return expand_running(self._client, names)

    def tail(self, unit: str, asked: Asked) -> list[str] | None:
        try:
            lines: list[str] = self._client.get(_path(unit), asked.parameters() | _replica(unit))["lines"]
        except ComponentNotFoundError:
            return None
        return lines if lines or not self.never_started(unit) else None

    def never_started(self, unit: str) -> bool:
        return component_of(unit) in self._unborn

    def follow(self, unit: str, asked: Asked) -> Iterator[str]:
        wanted = asked

        def lines() -> Iterator[str]:
            nonlocal wanted
            for event in self._client.stream(_path(unit), {"follow": 1, **wanted.parameters(), **_replica(unit)}):
                wanted = wanted._replace(lines=0)
                if event.event == "message":
                    yield json.loads(event.data)["line"]

        return reconnecting(lines)


class LogFiles:
    """The logs as files, without a control plane."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def units(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for unit in sorted(path.name.removesuffix(".log") for path in self._instance.log_dir.glob("*.log")):
            found.setdefault(component_of(unit), []).append(unit)
        return found

    def expand(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def tail(self, unit: str, asked: Asked) -> list[str] | None:
        log = self._instance.log_of(unit)
        with _readable(log):
            return tail(log, asked.lines, previous=asked.previous, only=asked.only(unit)) if log.exists() else None

    def never_started(self, unit: str) -> bool:  # noqa: ARG002 - of every unit without a file
        return True

    def follow(self, unit: str, asked: Asked) -> Iterator[str]:
        log = self._instance.log_of(unit)
        with _readable(log):
            yield from follow_file(log, asked.lines, asked.only(unit))


@contextmanager
def _readable(log: Path) -> Iterator[None]:
    """What is no log, or not ours to read, is told as such."""
    try:
        yield
    except OSError as error:
        raise FileProblemError(log, f"cannot be read: {error.strerror or error}") from error


def _path(unit: str) -> str:
    return component_path(component_of(unit), "logs")


def _replica(unit: str) -> dict[str, Any]:
    number = unit.partition(".")[2]
    return {"replica": int(number)} if number.isdigit() else {}


def _query(_: click.Context, __: click.Parameter, text: str) -> str:
    try:
        Query(text, SYSTEM_CLOCK.time())
    except LogQueryError as error:
        nearest = f"; did you mean {error.nearest!r}?" if error.nearest else ""
        raise click.BadParameter(f"{error.problem}{nearest}\n{text}\n{' ' * error.position}^") from error
    return text


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they are written.")
@click.option(
    "-n",
    "--tail",
    "count",
    type=click.IntRange(0, _MOST),
    help=f"How many past lines. Default: {_FEW}; with --since, {_MOST}.",
)
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of at least this level, and those without one.")
@click.option("--since", callback=duration, metavar="TIME", help="Only lines written less than this long ago.")
@click.option(
    "--query",
    default="",
    callback=_query,
    metavar="QUERY",
    help="Only lines that match, as in 'level>=warn -healthcheck'.",
)
@click.option("--previous", is_flag=True, help="What was printed before the last start.")
@click.option("--raw", is_flag=True, help="Lines as they were printed.")
@click.option(
    "-o", "--output", type=click.Choice(("text", "jsonl")), default="text", show_default=True, help="The format."
)
@target_options
def logs(
    *,
    names: tuple[str, ...],
    follow: bool,
    count: int | None,
    level: str | None,
    since: float | None,
    previous: bool,
    query: str,
    raw: bool,
    output: str,
    target: Target,
) -> int:
    """Show what components have printed.

    Without a NAME, all of them. The name tekton stands for the log of the control plane itself.
    """
    if follow and previous:
        raise click.UsageError("what was printed before the last start has an end: leave out --follow")
    source = _source(target, names)
    names = source.expand(names)
    wanted = Query(query, SYSTEM_CLOCK.time())
    units = _chosen(names, (_configured(target, source) if names else {}) | source.units())
    chosen = [unit for unit in units if wanted.wants_unit(unit)]
    if query and not names and not chosen and wanted.wants_unit(CONTROL_PLANE):
        source = _source(target, (CONTROL_PLANE,))
        units = chosen = [CONTROL_PLANE]
    earliest = None if since is None else SYSTEM_CLOCK.time() - since
    bounded = since is not None or wanted.since is not None
    default = _MOST if bounded else _FEW
    asked = Asked(default if count is None else count, level, earliest, previous, query)
    shown = _printer(units, output, raw=raw)
    if follow:
        return _follow(source, chosen, asked, shown)
    found = {unit: source.tail(unit, asked) for unit in chosen}
    for unit, text in merged({unit: lines for unit, lines in found.items() if lines is not None}):
        shown(unit, text)
    silent = [unit for unit, lines in found.items() if lines is None]
    for unit in silent:
        say(f"{unit} {_why_silent(unit, source)}")
    return NOT_FOUND if names and silent and silent == chosen else 0


def _why_silent(unit: str, source: LogSource) -> str:
    if unit == CONTROL_PLANE:
        return "has no log"
    return "has not been started yet" if source.never_started(unit) else "has no log: Tekton does not run its process"


def _configured(target: Target, source: LogSource) -> dict[str, list[str]]:
    """The components that could have a log, had they been started: a control plane knows them itself."""
    if not isinstance(source, LogFiles):
        return {}
    try:
        return {name: [name] for name in load_config(target).components}
    except ConfigurationError:
        return {}  # it has nothing to do with the logs that are there


def _chosen(names: tuple[str, ...], units: dict[str, list[str]]) -> list[str]:
    """The units that *names* (components, or units of them) stand for; all, without names."""
    every = {unit for members in units.values() for unit in members}
    for name in names:
        if name not in units and name not in every and name != CONTROL_PLANE:
            raise unknown_component(name, list(units))
    return list(dict.fromkeys(unit for name in names or units for unit in units.get(name, [name])))


def _source(target: Target, names: tuple[str, ...]) -> LogSource:
    if names == (CONTROL_PLANE,) and target.url is None:
        return LogFiles(Instance(data_dir(target)))
    try:
        client = connect(target)
        client.get("/api/health")
    except TransportError:
        if target.url is not None:
            raise
        files = LogFiles(Instance(data_dir(target)))
        if not files.units():
            raise
        return files
    return ControlPlaneLogs(client)


def _printer(units: list[str], output: str, *, raw: bool) -> Callable[[str, str], None]:
    """What prints a line of a unit. With several units, their names stand in front."""
    if output == "jsonl":
        return lambda unit, text: click.echo(machine_readable(unit, text))
    prefixes = _prefixes(units)

    def show(unit: str, text: str) -> None:
        for line in [text] if raw else readable(text):
            click.echo(prefixes[unit] + line)

    return show


def _prefixes(units: list[str]) -> dict[str, str]:
    """What stands in front of the lines of each unit: nothing, when there is only one."""
    if len(units) == 1:
        return {units[0]: ""}
    width = max(map(len, units), default=0)
    return {unit: paint_name(f"{unit:<{width}} | ", unit) for unit in units}


def _follow(source: LogSource, units: list[str], asked: Asked, shown: Callable[[str, str], None]) -> int:
    """Print the lines of all units as they come, until every log has ended."""
    lines: queue.Queue[Line] = queue.Queue(_WAITING)
    for unit in units:
        threading.Thread(target=_read, args=(source, unit, asked, lines), daemon=True).start()
    status, open_logs = 0, len(units)
    while open_logs:
        line = lines.get()
        if line.text is not None:
            shown(line.unit, line.text)
            continue
        open_logs -= 1
        if line.error is not None:
            status = status or report(line.error)
    return status


def _read(source: LogSource, unit: str, asked: Asked, lines: "queue.Queue[Line]") -> None:
    error = None
    try:
        for text in source.follow(unit, asked):
            lines.put(Line(unit, text))
    except TektonError as failure:
        error = failure
    lines.put(Line(unit, None, error))
