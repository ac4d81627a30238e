"""Keeps docs/reference/task-events.md true: its table of events is made from the events in the code.

python tests/docs/task_events_page.py      write it anew
"""

import inspect
import re
import typing
from pathlib import Path

import msgspec

from tekton.a2a.task_event import Change

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "task-events.md"

_TABLE = re.compile(r"(\| Event \| Members \| What it says \|\n\|---\|---\|---\|\n)(?:\|.*\n)*")


def with_current_table(text: str) -> str:
    """*text*, the page, with a row for each kind of event: its members, the first paragraph of its docstring."""
    rows = "".join(f"{_row(kind)}\n" for kind in typing.get_args(Change))
    return _TABLE.sub(lambda table: table[1] + rows, text)


def _row(kind: type[msgspec.Struct]) -> str:
    members = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(kind))
    says = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()).replace("*", "`")
    return f"| `{kind.__struct_config__.tag}` | {members} | {says} |"


if __name__ == "__main__":
    PAGE.write_text(with_current_table(PAGE.read_text()))
