"""Plain data as YAML that people read and edit. Texts that could be anything but a text are written as in JSON."""

import json
import re
from collections.abc import Iterator, Mapping

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(?<![.-])", re.ASCII)
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_WIDTH = 100


def yaml_text(value: Mapping[str, object], about: str = "") -> str:
    """*value* as one YAML document, below *about*, whose lines become comments.

    It may have mappings, lists, texts, numbers, true, false and None in it.
    """
    comment = [f"# {line}".rstrip() for line in about.splitlines()]
    return "\n".join([*comment, *_mapping(value, "")]) + "\n"


def _mapping(value: Mapping[str, object], margin: str) -> Iterator[str]:
    for key, member in value.items():
        yield from _member(f"{margin}{_scalar(key)}:", member, margin)


def _member(opening: str, value: object, margin: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield opening
        yield from _mapping(value, f"{margin}  ")
    elif isinstance(value, list) and value and not _fits(value, opening):
        yield opening
        for item in value:
            yield from _item(item, f"{margin}  ")
    else:
        yield f"{opening} {_flow(value)}"


def _item(value: object, margin: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        first, *rest = _mapping(value, f"{margin}  ")
        yield f"{margin}- {first.lstrip()}"
        yield from rest
    else:
        yield f"{margin}- {_flow(value)}"


def _fits(value: list[object], opening: str) -> bool:
    """True for what is short and has nothing but scalars in it."""
    flat = not any(isinstance(item, Mapping | list) for item in value)
    return flat and len(opening) + len(_flow(value)) < _WIDTH


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
