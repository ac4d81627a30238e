"""How lines of logs look: JSON lines as people read them, and nothing in them that a terminal would obey."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from tekton.cli.render import size
from tekton.supervisor.log_lines import LogLine, clock_time, read_line

MOST_SHOWN = 4096
"""Characters of a line; the rest is counted."""

_COLOUR_CODES = re.compile(r"\x1b\[[0-9;:]*m")
_NAMED = {"\n": "\\n", "\r": "\\r"}
_ZERO_WIDTH_JOINER = "\u200d"
_LEVEL_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}


def readable(text: str) -> list[str]:
    """A line of a log for people: one line, or several where a field of a JSON line has several."""
    line = read_line(text)
    if line.message is None:
        return [printable(text)]
    head = [clock_time(line.time)] if line.time is not None else []
    if line.level is not None:
        head.append(click.style(f"{line.level.upper():<8}", fg=_LEVEL_COLOURS.get(line.level)))
    logger = line.fields.get("logger")
    if isinstance(logger, str):
        head.append(printable(f"{logger}:"))
    blocks, fields = _fields(line.fields)
    return [" ".join([*head, printable(line.message), *fields]), *(f"  {printable(each)}" for each in blocks)]


def machine_readable(component: str, text: str) -> str:
    """A line of a log as a JSON object, with what could be read in it."""
    line = read_line(text)
    known = {"time": line.time, "level": line.level, "message": line.message, "fields": dict(line.fields) or None}
    found = {name: value for name, value in known.items() if value is not None}
    return json.dumps({"component": component, "line": text, **found}, ensure_ascii=False)


def printable(text: str) -> str:
    """*text* cut to a length that can be read, without colours, and with control characters as escapes."""
    cut, text = text[MOST_SHOWN:], text[:MOST_SHOWN]
    text = _COLOUR_CODES.sub("", text)
    if not text.isprintable():
        text = "".join(map(_shown, text))
    return f"{text}… (+{size(len(cut.encode()))})" if cut else text


def merged(lines: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """The lines of several logs, by log, in one row: (log, line).

    In the order of their times; a line without one stays behind the line before it, and those before the first time
    come first.
    """
    stamped = [(time, name, line.text) for name, texts in lines.items() for time, line in _stamped(texts)]
    return [(name, text) for _, name, text in sorted(stamped, key=lambda entry: entry[0])]


def _stamped(texts: Iterable[str]) -> Iterator[tuple[float, LogLine]]:
    last = 0.0
    for line in map(read_line, texts):
        last = line.time if line.time is not None else last
        yield last, line


def _fields(fields: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The lines of those that have several, such as tracebacks, and all others as `name=value`."""
    blocks, short = [], []
    for name, value in fields.items():
        if isinstance(value, str) and "\n" in value.strip():
            blocks += [f"{name}:", *value.strip("\n").split("\n")]
        elif name != "logger" or not isinstance(value, str):
            short.append(printable(f"{name}={_value(value)}"))
    return blocks, short


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r'[\s"=]', value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _shown(character: str) -> str:
    if character.isprintable() or character in ("\t", _ZERO_WIDTH_JOINER):
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
