"""Keeps docs/reference/errors.md true: all below its introduction is made from the catalogue and the classes.

python tests/docs/errors_page.py      write it anew
"""

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tekton.gateway import errors as gateway_errors
from tekton.gateway.problems import headers_of, status_of, to_problem
from tekton.utils import tekton_errors
from tekton.utils.error_catalogue import Explanation, catalogue
from tekton.utils.tekton_errors import Mistake, ProblemError, TektonError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "errors.md"

_OF_EVERY_PROBLEM = {"type", "title", "status", "detail", "code", "instance", "hint"}
_SAMPLES: dict[Any, object] = {
    str: "x",
    str | None: "x",
    int: 1,
    int | None: 1,
    float: 1.0,
    float | None: 1.0,
    Sequence[str]: ["x"],
    Mapping[str, str]: {"x": "x"},
    Mapping[str, BaseException] | None: {"x": RuntimeError("x")},
    Sequence[Mistake]: [Mistake("x", 1, 1, "", "x")],
}


def error_classes() -> list[type[TektonError]]:
    """Every class that is raised for a code of its own. ProblemError has the code of whatever it stands for."""
    found = [kind for module in (tekton_errors, gateway_errors) for kind in vars(module).values()]
    classes = [kind for kind in found if isinstance(kind, type) and issubclass(kind, TektonError)]
    return [kind for kind in dict.fromkeys(classes) if kind is not ProblemError]


def sample(kind: type[TektonError]) -> TektonError:
    """An error of this class, with all that it can carry."""
    if not any("__init__" in vars(base) for base in kind.__mro__ if issubclass(base, TektonError)):
        return kind("x")
    hints = typing.get_type_hints(kind.__init__)
    return kind(**{name: _SAMPLES[hint] for name, hint in hints.items() if name != "return"})


def with_current_entries(text: str) -> str:
    """*text*, the page, with all that is made anew."""
    introduction, heading, _ = text.partition("## By status\n")
    return "".join((introduction, heading, *_made()))


def _made() -> Iterator[str]:
    known = catalogue()
    yield "\n| Status | Codes |\n|---|---|\n"
    for status in sorted({entry.status for entry in known.values() if entry.status is not None}):
        yield f"| {status} | {_links(entry for entry in known.values() if entry.status == status)} |\n"
    classes = {kind.code: kind for kind in error_classes()}
    part = ""
    for code, entry in known.items():
        if entry.part != part:
            part = entry.part
            yield f"\n## {part}\n"
        yield from _section(entry, classes.get(code))
    yield from _exit_statuses(known)


def _section(entry: Explanation, kind: type[TektonError] | None) -> Iterator[str]:
    yield f"\n### `{entry.code}`\n\n"
    yield f"{_class_line(kind)}\n\n" if kind is not None else ""
    yield f"**{entry.title}.**\n{entry.meaning}\n\n"
    if entry.causes:
        yield "Usual causes:\n\n" + "".join(f"- {cause}\n" for cause in entry.causes) + "\n"
    yield f"**What to do:** {entry.advice}\n"


def _class_line(kind: type[TektonError]) -> str:
    error = sample(kind)
    fields = [name for name in json.loads(to_problem(error, "/")) if name not in _OF_EVERY_PROBLEM]
    told = ", ".join(f"`{name}`" for name in fields) or "none"
    line = f"{status_of(error)} · `{kind.__name__}` · fields: {told}"
    seconds = dict(headers_of(error)).get("retry-after")
    return f"{line} · `Retry-After: {seconds}`" if seconds else line


def _exit_statuses(known: dict[str, Explanation]) -> Iterator[str]:
    yield "\n## Exit statuses\n\nOf the command line, by the code of the error:\n\n| Exit status | Codes |\n|---|---|\n"
    yield "| 0 | none: done |\n"
    for status in sorted({entry.exit_status for entry in known.values()}):
        yield f"| {status} | {_links(entry for entry in known.values() if entry.exit_status == status)} |\n"
    yield "| 130 | none: interrupted (Ctrl-C) |\n"
    yield "| 141 | none: whoever read the output has closed it |\n"


def _links(entries: Iterator[Explanation]) -> str:
    return ", ".join(f"[`{entry.code}`](#{entry.code})" for entry in entries)


if __name__ == "__main__":
    PAGE.write_text(with_current_entries(PAGE.read_text()))
