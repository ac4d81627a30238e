"""Content that is given on the command line: JSON, or else a text, as a word, from a file, or on stdin."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import click

from tekton.cli.problems import FileProblemError, say_warning

Json = dict[str, Any]

_DIGITS = 20
"""More has no integer of 64 bits, its sign included."""
_SHOWN = 40
"""Characters of a number that are shown."""


def content_of(given: str | None, file: Path | None) -> Any:
    """What *given* is, `-` being stdin, or what is in *file*; None when nothing was given. Raises UsageError."""
    if file is not None and given is not None:
        raise click.UsageError("the content is given twice: leave out CONTENT or --file")
    try:
        text = file.read_text("utf-8") if file is not None else sys.stdin.read() if given == "-" else given
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise FileProblemError(file or Path("-"), f"cannot be read: {problem}") from None
    return None if text is None else _read(text)


def secret_of(file: Path) -> str:
    """The secret in *file*, `-` being stdin, without the blanks and line ends around it. Raises UsageError."""
    try:
        found = (sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileProblemError(file, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise click.UsageError(f"{file}: there is nothing in it")
    return found


def object_of(file: Path | None, what: str) -> Json:
    """The JSON object in *file*, `-` being stdin; an empty one without. *what* is one, in an error: "inputs are"."""
    found = {} if file is None else _document(file)
    if not isinstance(found, dict):
        raise click.UsageError(f"{file}: {what} a JSON object")
    return found


def list_of(file: Path | None, what: str) -> list[Any]:
    """The JSON list in *file*, as `object_of`."""
    found = [] if file is None else _document(file)
    if not isinstance(found, list):
        raise click.UsageError(f"{file}: {what} a JSON list")
    return found


def _document(file: Path) -> Any:
    try:
        return _loads(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        raise FileProblemError(file, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{file}: this is no JSON: {error}") from None


def object_of_text(option: str, text: str) -> Json:
    """The JSON object that *text* is, as an *option* gives it. Raises UsageError."""
    try:
        found = _loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{option}: this is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{option}: expected a JSON object")
    return found


def _read(text: str) -> Any:
    try:
        return _loads(text)
    except ValueError as error:
        if text.lstrip().startswith(("{", "[")):
            say_warning(f"this is no JSON, and goes as a text: {error}")
        return text
    except RecursionError:
        raise click.UsageError("the content is nested too deep") from None


def _loads(text: str | bytes) -> Any:
    """What *text* is as JSON. Raises UsageError for what the control plane would not take, ValueError for no JSON."""
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=_no_number,
        parse_int=_integer,
        parse_float=_float,
    )


def _integer(text: str) -> int:
    if len(text) > _DIGITS or not -(2**63) <= int(text) < 2**64:
        raise click.UsageError(f"the content has an integer of more than 64 bits: {_short(text)}; write it as a text")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise click.UsageError(f"the content has a number that is too large: {_short(text)}; write it as a text")
    return number


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _object(members: list[tuple[str, Any]]) -> Json:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise click.UsageError(f"the content has the member {twice!r} twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
