"""What every error code means: the table behind `tekton explain`, the exit statuses and docs/reference/errors.md.

The entries stand in `error_catalogue.toml` beside this module. They are read when they are first needed, which is when
something has gone wrong.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class Explanation(NamedTuple):
    """One error code. The texts are Markdown.

    `part` is the chapter of the reference, `title` a sentence without a full stop, `status` the HTTP status (None for
    what only the command line reports), `exit_status` that of a command which ends with this error.
    """

    code: str
    part: str
    title: str
    status: int | None
    exit_status: int
    meaning: str
    causes: tuple[str, ...]
    advice: str


@cache
def catalogue() -> dict[str, Explanation]:
    """All explanations by code, in the order of the reference."""
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {code: _explanation(code, entry) for code, entry in document.items()}


def plain(markdown: str) -> str:
    """*markdown* for a terminal: links are their text, lines are joined."""
    return " ".join(_LINK.sub(r"\1", markdown).split())


def _explanation(code: str, entry: dict[str, object]) -> Explanation:
    known = {"status": None, **entry, "causes": tuple(entry["causes"])}  # type: ignore[arg-type]
    return Explanation(code=code, **known)  # type: ignore[arg-type]
