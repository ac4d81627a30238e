"""The verb logs: what components have printed, from the control plane, or from the files when it does not run.

Lines of several components are told apart by the name in front. Past lines stand component by component, in the
order of the names: they carry no times by which they could be merged. New lines come as they are written.
"""

import json
import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import click

from tekton.cli.client import Client, component_path, connect, data_dir
from tekton.cli.components import unknown_component
from tekton.cli.instance import Instance
from tekton.cli.options import Target, target_options
from tekton.cli.problems import NOT_FOUND, report
from tekton.cli.render import paint_name, say
from tekton.cli.tail import follow_file
from tekton.cli.watch import reconnecting
from tekton.supervisor.logs import tail
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError, TransportError

CONTROL_PLANE = "tekton"
"""The name under which the log of the control plane itself is known."""

_MOST = 10_000


class Line(NamedTuple):
    """A line of the log of a component; without `text`, the end of the log, and `error` what ended it."""

    name: str
    text: str | None
    error: TektonError | None = None


class LogSource(Protocol):
    """Where log lines come from."""

    def names(self) -> list[str]:
        """The components that can have a log."""
        ...

    def tail(self, name: str, count: int) -> list[str] | None:
        """The last *count* lines; None when the component has no log."""
        ...

    def follow(self, name: str, count: int) -> Iterator[str]:
        """The last *count* lines, and those to come, for ever."""
        ...


class ControlPlaneLogs:
    """The logs through the API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def names(self) -> list[str]:
        return [view["component_id"] for view in self._client.get("/api/system")["components"]]

    def tail(self, name: str, count: int) -> list[str] | None:
        try:
            lines: list[str] = self._client.get(component_path(name, "logs"), {"tail": count})["lines"]
        except ComponentNotFoundError:
            return None
        return lines

    def follow(self, name: str, count: int) -> Iterator[str]:
        wanted = count

        def lines() -> Iterator[str]:
            nonlocal wanted
            for event in self._client.stream(component_path(name, "logs"), {"follow": 1, "tail": wanted}):
                wanted = 0
                if event.event == "message":
                    yield json.loads(event.data)["line"]

        return reconnecting(lines)


class LogFiles:
    """The logs as files, without a control plane."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._instance.log_dir.glob("*.log"))

    def tail(self, name: str, count: int) -> list[str] | None:
        log = self._instance.log_of(name)
        return tail(log, count) if log.exists() else None

    def follow(self, name: str, count: int) -> Iterator[str]:
        return follow_file(self._instance.log_of(name), count)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they are written.")
@click.option(
    "-n", "--tail", "count", type=click.IntRange(0, _MOST), default=100, show_default=True, help="How many past lines."
)
@target_options
def logs(names: tuple[str, ...], follow: bool, count: int, target: Target) -> int:
    """Show what components have printed.

    Without a NAME, all of them. The name tekton stands for the log of the control plane itself.
    """
    source = _source(target, names)
    known = source.names()
    for name in names:
        if name not in known:
            raise unknown_component(name, known)
    chosen = list(names or known)
    prefix = _prefixes(chosen)
    if follow:
        return _follow(source, chosen, count, prefix)
    silent = [name for name in chosen if not _print_tail(source, name, count, prefix[name])]
    for name in silent:
        say(f"{name} has no log: Tekton does not run its process")
    return NOT_FOUND if names and silent == chosen else 0


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
        if not files.names():
            raise
        return files
    return ControlPlaneLogs(client)


def _prefixes(names: list[str]) -> dict[str, str]:
    """What stands in front of the lines of each component: nothing, when there is only one."""
    if len(names) == 1:
        return {names[0]: ""}
    width = max(map(len, names), default=0)
    return {name: paint_name(f"{name:<{width}} | ", name) for name in names}


def _print_tail(source: LogSource, name: str, count: int, prefix: str) -> bool:
    lines = source.tail(name, count)
    if lines:
        click.echo("\n".join(prefix + line for line in lines))
    return lines is not None


def _follow(source: LogSource, names: list[str], count: int, prefix: dict[str, str]) -> int:
    """Print the lines of all components as they come, until every log has ended."""
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    for name in names:
        threading.Thread(target=_read, args=(source, name, count, lines), daemon=True).start()
    status, open_logs = 0, len(names)
    while open_logs:
        line = lines.get()
        if line.text is not None:
            click.echo(prefix[line.name] + line.text)
            continue
        open_logs -= 1
        if line.error is not None:
            status = status or report(line.error)
    return status


def _read(source: LogSource, name: str, count: int, lines: "queue.SimpleQueue[Line]") -> None:
    error = None
    try:
        for text in source.follow(name, count):
            lines.put(Line(name, text))
    except TektonError as failure:
        error = failure
    lines.put(Line(name, None, error))
