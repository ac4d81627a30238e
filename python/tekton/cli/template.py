"""Lists in the words of whoever asks: `-o template='{component_id}: {state}'` prints a line like that for each item.

A template is text with the names of fields in braces, as they stand in `-o json`; `{name}` is what `-o name` prints.
`{message.content}` is the field of a field, where a list names it.
`{state:<10}` pads on the right, `{state:>10}` on the left, `{state:^10}` on both sides; `{{` and `}}` are braces, `\\t`
and `\\n` a tab and a new line. That is all: values are put in as text, and nothing in a template is carried out.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

from tekton.cli.render import clean, to_json

_ESCAPES = {r"\t": "\t", r"\n": "\n", r"\\": "\\"}
_WIDTH = re.compile(r"([<>^]?)([1-9][0-9]{0,2})")
_PAD: dict[str, Callable[[str, int], str]] = {"": str.ljust, "<": str.ljust, ">": str.rjust, "^": str.center}


class _Piece(NamedTuple):
    """Text, then the value of a field (none at the end) that is padded to *width*."""

    text: str
    field: str | None
    pad: Callable[[str, int], str] = str.ljust
    width: int = 0


class Template:
    """A parsed template over items that have *fields*. Raises BadParameter for what is no such template."""

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        if not text:
            raise click.BadParameter("what is a line to look like? Write template='{name} {state}'")
        unescaped = re.sub(r"\\[tn\\]", lambda match: _ESCAPES[match[0]], text)
        self._pieces = list(_parsed(unescaped, fields))

    def fill(self, item: Mapping[str, Any]) -> str:
        """The text for one item."""
        return "".join(map(_filled, self._pieces, [item] * len(self._pieces)))


def _parsed(text: str, fields: Sequence[str]) -> Iterator[_Piece]:
    try:
        found = list(string.Formatter().parse(text))
    except ValueError as error:
        raise click.BadParameter(f"the template {text!r}: {error}") from None
    for literal, field, width, conversion in found:
        if field is None:
            yield _Piece(literal, None)
            continue
        if field not in fields:
            raise click.BadParameter(_unknown(field, fields))
        if conversion is not None:
            raise click.BadParameter(f"{{{field}!{conversion}}}: values are put in as they are, without !{conversion}")
        yield _Piece(literal, field, *_padding(field, width or ""))


def _unknown(field: str, fields: Sequence[str]) -> str:
    from tekton.utils.tekton_ids import did_you_mean

    return f"no field {field!r}; {did_you_mean(field, fields) or 'there are ' + ', '.join(fields)}"


def _padding(field: str, text: str) -> tuple[Callable[[str, int], str], int]:
    if not text:
        return str.ljust, 0
    found = _WIDTH.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{{{field}:{text}}}: a width is written like 10, <10, >10 or ^10")
    return _PAD[found[1]], int(found[2])


def _filled(piece: _Piece, item: Mapping[str, Any]) -> str:
    if piece.field is None:
        return piece.text
    return piece.text + piece.pad(_as_text(_value(item, piece.field)), piece.width)


def _value(item: Mapping[str, Any], field: str) -> object:
    found: Any = item
    for name in field.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _as_text(value: object) -> str:
    match value:
        case None:
            return "-"
        case str():
            return clean(value)
        case bool() | dict():
            return to_json(value)
        case [*items]:
            return ",".join(map(_as_text, items))
    return str(value)
