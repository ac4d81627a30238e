"""How things look: tables, lengths of time, states, JSON.

A table has no boxes, two spaces between columns and fits 80 columns; its last column is cut only on a terminal,
so that nothing is lost in a pipe. Colour is decoration: click drops it where the output is not a terminal.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

GUTTER = "  "

_STATE_COLOURS = {
    "ready": "green",
    "degraded": "yellow",
    "failed": "red",
    "stopping": "yellow",
    "starting": "cyan",
    "initializing": "cyan",
    "registering": "cyan",
}

_NAME_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


class Column(NamedTuple):
    """A column of a table: its heading, and whether it holds numbers."""

    title: str
    numeric: bool = False


def paint_state(text: str, state: str) -> str:
    """*text* in the colour of *state*; unremarkable states have none."""
    colour = _STATE_COLOURS.get(state)
    return click.style(text, fg=colour) if colour else text


def paint_name(text: str, name: str) -> str:
    """*text* in a colour that belongs to *name*, the same in every run."""
    return click.style(text, fg=_NAME_COLOURS[sum(name.encode()) % len(_NAME_COLOURS)])


def clean(text: str) -> str:
    """*text* on one line and without control characters: it may come from anybody who can register."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
) -> list[str]:
    """The lines of a table, heading first. Cells may be coloured, the last one not."""
    cells = [[column.title for column in columns], *rows]
    widths = [max(len(click.unstyle(row[position])) for row in cells) for position in range(len(columns))]
    used = sum(widths[:-1]) + len(GUTTER) * (len(columns) - 1)
    return [_line(columns, widths, [*row[:-1], _fit(row[-1], used)]) for row in cells]


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    cells = [_align(text, width, column) for text, width, column in zip(row, widths, columns, strict=True)]
    return GUTTER.join(cells).rstrip()


def _align(text: str, width: int, column: Column) -> str:
    padding = " " * (width - len(click.unstyle(text)))
    return padding + text if column.numeric else text + padding


def _fit(text: str, used: int) -> str:
    if not sys.stdout.isatty():
        return text
    room = max(shutil.get_terminal_size().columns - used, 8)
    return text if len(text) <= room else text[: room - 1] + "…"


def short_duration(seconds: float) -> str:
    """A length of time in one unit, for tables: `41s`, `12m`, `3h`, `2d`."""
    seconds = max(seconds, 0.0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def ago(seconds: float) -> str:
    """How long ago something was: `just now`, `12s ago`."""
    return "just now" if seconds < 1 else f"{short_duration(seconds)} ago"


def elapsed(seconds: float) -> str:
    """A measured length of time: `0.31 s`, `12.4 s`, `3m`."""
    if seconds >= 60:
        return short_duration(seconds)
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def size(size_bytes: int) -> str:
    """An amount of data: `512 B`, `20 KiB`, `1.5 MiB`."""
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"


def clock_time(timestamp: float) -> str:
    """The local time of day of a wall-clock *timestamp*, to the millisecond."""
    from datetime import datetime

    return datetime.fromtimestamp(timestamp).astimezone().strftime("%H:%M:%S.%f")[:-3]


def happening(entry: Mapping[str, Any]) -> str:
    """What a change or an entry of the history says: `starting → ready`, or `registered`, `updated`, `deregistered`."""
    if entry["kind"] != "state":
        return str(entry["kind"])
    return f"{entry['previous']} → {paint_state(entry['state'], entry['state'])}"


def counts(states: Iterable[str]) -> str:
    """How many are in which state: `5 components: 2 ready, 1 failed`."""
    found: dict[str, int] = {}
    for state in states:
        found[state] = found.get(state, 0) + 1
    total = sum(found.values())
    parts = [f"{found[state]} {state}" for state in sorted(found, key=_by_rank)]
    return f"{plural(total, 'component')}: {', '.join(parts)}" if total else "no components"


_RANK = ("ready", "degraded", "starting", "initializing", "registering", "unknown", "stopping", "stopped", "failed")


def _by_rank(state: str) -> int:
    return _RANK.index(state) if state in _RANK else len(_RANK)


def plural(number: int, noun: str) -> str:
    """`1 component`, `2 components`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def to_json(value: object, *, indent: int | None = None) -> str:
    """*value* as JSON text; one line unless *indent* is given."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def print_items(output: str, document: Mapping[str, Any], key: str, *, name: str = "component_id") -> None:
    """Print a list for machines: `json` the whole *document*, `jsonl` an item a line, `name` just the names."""
    if output == "json":
        click.echo(to_json(document, indent=2))
        return
    for item in document[key]:
        click.echo(to_json(item) if output == "jsonl" else item[name])


def say(text: str = "") -> None:
    """Tell the person something: on stderr, never on stdout."""
    click.echo(text, err=True)
