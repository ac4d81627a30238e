"""`docs/performance.md`: prose by hand, figures from the benches.

What stands between `<!-- bench NAME -->` and `<!-- end -->` is replaced; everything else stays. The block `summary`
speaks of all benches, and is renewed when there is a result of each.
"""

import os
import platform
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from _measure import Row, number, quantity

Status = Literal["held", "missed", "skipped", "crashed"]

_BLOCK = re.compile(r"<!-- bench ([a-z0-9_]+) -->\n.*?<!-- end -->\n", re.DOTALL)
_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a bench. *note* says why it did not come to its end, when it did not.

    *load* is how many threads wanted a processor in the minute before: absolute figures want it near 0.
    """

    name: str
    status: Status
    rows: list[Row]
    date: str
    note: str = ""
    load: float | None = None


def update(page: str, results: Sequence[Result], expected: Sequence[str]) -> str:
    """*page* with the blocks of *results* renewed. A bench that has no block yet gets one at the end."""
    blocks = {result.name: section(result) for result in results if result.name in expected}
    if set(blocks) == set(expected):
        blocks["summary"] = summary([result for result in results if result.name in blocks])
    known = names(page)
    page = _BLOCK.sub(lambda found: _block(found[1], blocks[found[1]]) if found[1] in blocks else found[0], page)
    missing = [name for name in blocks if name not in known]
    return page + "".join(f"\n{_block(name, blocks[name])}" for name in missing)


def names(page: str) -> list[str]:
    """The names of the blocks in *page*."""
    return [found[1] for found in _BLOCK.finditer(page)]


def section(result: Result) -> str:
    """The figures of one bench."""
    load = "" if result.load is None else f", at a load of {result.load:.1f}"
    text = [f"`benches/{result.name}.py`, {result.date}{load}"]
    if result.status in ("skipped", "crashed"):
        text.append(f"**{result.status}**: {result.note}")
    groups = dict.fromkeys(row.section for row in result.rows)
    for group in groups:
        rows = [row for row in result.rows if row.section == group]
        text.append("\n".join([*([f"{_capital(group)}:\n"] if group else []), *_table(rows)]))
    return "\n\n".join(text)


def summary(results: Sequence[Result]) -> str:
    """Where and with what it was measured, how many gates there are, and which were missed."""
    gates = [(result, row) for result in results for row in result.rows if row.gate is not None]
    missed = [(result, row) for result, row in gates if not row.holds]
    lines = [*machine(), "", f"{len(gates)} gates, {len(gates) - len(missed)} held, **{len(missed)} missed**."]
    if missed:
        lines += ["", "| Missed | | Seen | Gate | Bench |", "|---|---|---|---|---|"]
        lines += [
            f"| {_capital(row.section)} | {_what(row)} | {_seen(row)} | {row.bound} | `{result.name}` |"
            for result, row in missed
        ]
    ended = [result for result in results if result.status in ("skipped", "crashed")]
    lines += ["", *(f"`{result.name}` {result.status}: {result.note}" for result in ended)] if ended else []
    return "\n".join(lines)


def machine() -> list[str]:
    """The machine, the interpreter and the versions of what is measured against."""
    return [
        f"- {_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}",
        f"- {platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
        f"- {', '.join(f'{name} {version}' for name, version in versions())}",
    ]


def versions() -> Iterator[tuple[str, str]]:
    """What the benches compare with, and what Tekton stands on."""
    project = tomllib.loads(_PROJECT.read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["bench"]]
    for requirement in sorted(wanted, key=str.lower):
        name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0]
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.processor() or platform.machine()


def _block(name: str, text: str) -> str:
    return f"<!-- bench {name} -->\n\n{text}\n\n<!-- end -->\n"


def _table(rows: Sequence[Row]) -> list[str]:
    lines = ["| | Seen | Rounds | Gate | |", "|---|---|---|---|---|"]
    for row in rows:
        spread = f"{number(row.spread[0])} to {number(row.spread[1])}" if row.spread else ""
        verdict = "" if row.gate is None else f"{row.bound}, {'held' if row.holds else '**missed**'}"
        lines.append(f"| {_what(row)} | {_seen(row)} | {spread} | {verdict} | {row.detail} |")
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _what(row: Row) -> str:
    return f"{row.what}, against {row.against}" if row.against else row.what


def _seen(row: Row) -> str:
    return quantity(row.seen, row.unit)
