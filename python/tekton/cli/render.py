"""How things look: tables, lengths of time, states, JSON.

A table has no boxes, two spaces between columns and fits 80 columns. On a terminal that is too narrow the least
important columns are left out, and the last one is cut; in a pipe nothing is lost. Colour is decoration: click drops it
where the output is not a terminal.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tekton.cli.terminal import cells, crop, width_of

if TYPE_CHECKING:
    from tekton.cli.template import Template

GUTTER = "  "

_LEAST_ROOM = 8

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
    """A column of a table: its heading, whether it holds numbers, and when it is left out for want of room.

    The `spare` columns go first, those with the highest number before the others; 0 stays.
    """

    title: str
    numeric: bool = False
    spare: int = 0


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


def harmless(text: str) -> str:
    """*text* as it is, lines and all, but with nothing in it that a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    fit: bool = True,
) -> list[str]:
    """The lines of a table, heading first. Cells may be coloured, the first and the last one not.

    Without *fit*, everything stays on a terminal, too.
    """
    width = width_of(sys.stdout) if fit else None
    shown = [[column.title for column in columns], *rows]
    widths = _widths(shown)
    kept = list(range(len(columns)))
    if width is not None:
        kept = _kept(columns, widths, width)
        others = _used([0, *(widths[position] for position in kept[1:-1])]) + min(widths[-1], _LEAST_ROOM)
        widths[0] = min(widths[0], max(width - others, _LEAST_ROOM))
        shown = [[crop(row[0], widths[0]), *row[1:]] for row in shown]
    columns, widths = [columns[position] for position in kept], [widths[position] for position in kept]
    shown = [[row[position] for position in kept] for row in shown]
    if width is not None:
        room = width - _used(widths[:-1])
        shown = [[*row[:-1], crop(row[-1], room)] for row in shown]
    return [_line(columns, widths, row) for row in shown]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table without a heading: as wide as they are."""
    widths = _widths(rows)
    return [_line([Column("")] * len(row), widths, row) for row in rows]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells, column)) for column in zip(*rows, strict=True)]


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The positions of the columns for which there is room, when the last one is to have some too."""
    kept = list(range(len(columns)))
    last = min(widths[-1], _LEAST_ROOM)
    while _used([widths[position] for position in kept[:-1]]) + last > width:
        spare = max(kept, key=lambda position: columns[position].spare)
        if not columns[spare].spare:
            break
        kept.remove(spare)
    return kept


def _used(widths: Sequence[int]) -> int:
    """What columns of these *widths* take up, with the gutter behind each."""
    return sum(widths) + len(GUTTER) * len(widths)


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    padded = [_align(text, width, column) for text, width, column in zip(row, widths, columns, strict=True)]
    return GUTTER.join(padded).rstrip()


def _align(text: str, width: int, column: Column) -> str:
    padding = " " * (width - cells(text))
    return padding + text if column.numeric else text + padding


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


def share(fraction: float | None) -> str:
    """A fraction as a percentage, for tables: `0.4%`, `12%`; `-` for what is not known."""
    if fraction is None:
        return "-"
    return f"{fraction:.1%}" if fraction < 0.0995 else f"{fraction:.0%}"


def short_size(size_bytes: int | None) -> str:
    """An amount of memory, for tables: `312B`, `900K`, `38M`, `1.2G`; `-` for what is not known."""
    if size_bytes is None:
        return "-"
    if size_bytes < 1000:
        return f"{size_bytes}B"
    amount, unit = size_bytes / 1024, "K"
    for larger in ("M", "G", "T"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f}{unit}" if amount < 9.95 and unit != "K" else f"{amount:.0f}{unit}"


def clock_time(timestamp: float) -> str:
    """The local time of day of a wall-clock *timestamp*, to the millisecond."""
    from datetime import datetime

    return datetime.fromtimestamp(timestamp).astimezone().strftime("%H:%M:%S.%f")[:-3]


def date_and_time(timestamp: float) -> str:
    """The local date and time of a wall-clock *timestamp*, to the second."""
    from datetime import datetime

    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def happening(entry: Mapping[str, Any]) -> str:
    """What a change or an entry of the history says: `starting → ready`, or what else happened, as `registered`."""
    if entry["kind"] == "serving" and "record" in entry:
        return "takes traffic" if entry["record"]["serving"] else "takes no traffic"
    if entry["kind"] == "serving":
        return "traffic"  # the history does not say which way; the reason does
    if entry["kind"] != "state":
        return str(entry["kind"]).replace("_", " ")
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


def print_value(value: object, *, raw: bool) -> None:
    """Print *value* as JSON; with *raw* a text as it is, without quotes, and harmless to a terminal."""
    if raw and isinstance(value, str):
        click.echo(harmless(value) if sys.stdout.isatty() else value)
    else:
        click.echo(to_json(value, indent=2))


def print_items(output: "str | Template", document: Mapping[str, Any], key: str, *, name: str = "component_id") -> None:
    """Print a list for machines: `json` the whole *document*, others an item a line, as `item_line` does."""
    if output == "json":
        click.echo(to_json(document, indent=2))
        return
    for item in document[key]:
        click.echo(item_line(output, item, name=name))


def item_line(output: "str | Template", item: Mapping[str, Any], *, name: str = "component_id") -> str:
    """One item for machines: `jsonl` all of it, `name` its *name*, a template what that says."""
    if not isinstance(output, str):
        return output.fill({"name": item[name], **item})
    return to_json(item) if output == "jsonl" else str(item[name])


def say(text: str = "") -> None:
    """Tell the person something: on stderr, never on stdout."""
    click.echo(text, err=True)
