"""Checks a parsed document against a type, and reports everything that is wrong with it.

The answer of a check is plain data that holds only what was right, so that it always converts to its struct and the
checks that compare values can still run on the rest.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from tekton.utils.config_values import InvalidValueError, convert_scalar, parse_text, unwrap
from tekton.utils.json_document import Document, Node
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_errors import Mistake
from tekton.utils.tekton_ids import did_you_mean

Expand = Callable[[str, str], str]
"""Replaces the variables in a text that stands at a JSON pointer; raises `InvalidValueError`."""

_INVALID: Any = object()
_AMOUNT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|[smhd]|)")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def dotted(pointer: str) -> str:
    """A JSON pointer as people say it: `/tekton/port` is `tekton.port`."""
    return "the file" if not pointer else pointer.lstrip("/").replace("/", ".").replace("~1", "/").replace("~0", "~")


class Checker:
    """Checks one document; `mistakes` holds those of the parser and grows with each check."""

    def __init__(self, document: Document, expand: Expand) -> None:
        self.document = document
        self.mistakes: list[Mistake] = list(document.mistakes)
        self._expand = expand

    def check(self, expected: type[msgspec.Struct]) -> dict[str, Any]:
        """The right parts of the document as plain data."""
        root = self.document.root
        value = _INVALID if root is None else self._check(root, inspect.type_info(expected))
        return {} if value is _INVALID else value

    def quiet_value(self, node: Node, expected: inspect.Type) -> Any:
        """The value of one node, or None when it is wrong; mistakes are not recorded."""
        known = len(self.mistakes)
        value = self._check(node, expected)
        del self.mistakes[known:]
        return None if value is _INVALID else value

    def clean(self, pointer: str) -> bool:
        """True when no mistake was found at *pointer* or below it."""
        return not any(f"{mistake.pointer}/".startswith(f"{pointer}/") for mistake in self.mistakes)

    def report(self, node: Node, problem: str, suggestion: str | None = None, *, at_key: bool = False) -> None:
        """Record a mistake at a value, or at the key that names it."""
        offset = node.key_offset if at_key else node.offset
        self.mistakes.append(self.document.mistake(offset, node.pointer, problem, suggestion))

    def _check(self, node: Node, expected: inspect.Type) -> Any:
        if node.broken:
            return _INVALID
        inner, rule = unwrap(expected)
        value = self._value(node, inner)
        if value is _INVALID or value is None or rule is None or (problem := rule(value)) is None:
            return value
        self.report(node, f"{dotted(node.pointer)}: {problem[0]}", problem[1])
        return _INVALID

    def _value(self, node: Node, expected: inspect.Type) -> Any:
        match expected, node.value:
            case inspect.StructType(), dict(members):
                return self._struct(node, members, expected)
            case inspect.DictType(), dict(members):
                return self._mapping(members, expected)
            case ((inspect.ListType() | inspect.TupleType()), list(items)):
                return self._list(node, items, expected)
            case inspect.UnionType(), _:
                return self._union(node, expected)
            case inspect.AnyType(), _:
                return self._anything(node)
        return self._scalar(node, expected)

    def _struct(self, node: Node, members: dict[str, Node], expected: inspect.StructType) -> Any:
        fields = {field.encode_name: field for field in expected.fields}
        for name, member in members.items():
            if name not in fields:
                advice = _advice(name, member, expected)
                self.report(member, f"unknown key {dotted(member.pointer)!r}", advice, at_key=True)
        checked = {name: self._check(member, fields[name].type) for name, member in members.items() if name in fields}
        required = [name for name, field in fields.items() if field.required]
        for name in required:
            if name not in members:
                self.report(node, f"{dotted(node.pointer)} has no {name!r}", at_key=True)
        valid = {name: value for name, value in checked.items() if value is not _INVALID}
        return valid if all(name in valid for name in required) else _INVALID

    def _mapping(self, members: dict[str, Node], expected: inspect.DictType) -> Any:
        _, rule = unwrap(expected.key_type)
        valid = {}
        for name, member in members.items():
            value = self._check(member, expected.value_type)
            if rule is not None and (problem := rule(name)) is not None:
                self.report(member, f"{dotted(member.pointer)}: {problem[0]}", problem[1], at_key=True)
            elif value is not _INVALID:
                valid[name] = value
        return valid

    def _list(self, node: Node, items: list[Node], expected: inspect.ListType | inspect.TupleType) -> Any:
        if isinstance(expected, inspect.ListType):
            types = (expected.item_type,) * len(items)
            if len(items) < (expected.min_length or 0):
                self.report(node, f"{dotted(node.pointer)} must not be empty")
                return _INVALID
        else:
            types = expected.item_types
        if len(types) != len(items):
            return self._scalar(node, expected)
        return _all_valid([self._check(item, type_) for item, type_ in zip(items, types, strict=True)])

    def _union(self, node: Node, expected: inspect.UnionType) -> Any:
        """An object, a list or a string picks the member of its kind, so that mistakes inside it are found."""
        for member in expected.types:
            if _same_kind(node.value, unwrap(member)[0]):
                return self._check(node, member)
        return self._scalar(node, expected)

    def _anything(self, node: Node) -> Any:
        match node.value:
            case dict(members):
                return {name: self._anything(member) for name, member in members.items()}
            case list(items):
                return _all_valid([self._anything(item) for item in items])
            case str():
                return self._scalar(node, inspect.StrType())
        return node.value

    def _scalar(self, node: Node, expected: inspect.Type) -> Any:
        value = node.value
        try:
            if not isinstance(value, str) or "$" not in value:
                return convert_scalar(value, expected)
            text = self._expand(value, node.pointer)
            return text if isinstance(expected, inspect.StrType) else parse_text(text, expected)
        except InvalidValueError as error:
            found = f", found {_found(node)}" if error.problem.startswith("expected") else ""
            self.report(
                node, f"{dotted(node.pointer)}: {error.problem}{found}", error.suggestion or _advice_for(node, error)
            )
            return _INVALID


def _same_kind(value: object, expected: inspect.Type) -> bool:
    match value:
        case dict():
            return isinstance(expected, inspect.StructType | inspect.DictType)
        case list():
            return isinstance(expected, inspect.ListType | inspect.TupleType)
    return isinstance(value, str) and isinstance(expected, inspect.StrType)


def _all_valid(values: list[Any]) -> Any:
    return _INVALID if any(value is _INVALID for value in values) else values


def _advice(name: str, node: Node, struct: inspect.StructType) -> str | None:
    """The nearest key of the struct; or the section below it that has the key, or the table that it is an entry for."""
    for field in struct.fields:
        section, _ = unwrap(field.type)
        if isinstance(section, inspect.StructType) and any(name == member.encode_name for member in section.fields):
            return f"it belongs in {field.encode_name!r}"
        if isinstance(section, inspect.DictType) and _could_be_entry(node, section.value_type):
            return f"it belongs in {field.encode_name!r}"
    names = [field.encode_name for field in struct.fields if field.encode_name != "$schema"]
    return did_you_mean(name, names) or f"the keys are {', '.join(names)}"


def _advice_for(node: Node, error: InvalidValueError) -> str | None:
    """What to write for a number in quotation marks, with or without a unit of time."""
    match = _AMOUNT.fullmatch(node.value) if isinstance(node.value, str) and "number" in error.problem else None
    return None if match is None else f"write {float(match[1]) * _SECONDS[match[2]]:g}, without quotation marks"


def _could_be_entry(node: Node, expected: inspect.Type) -> bool:
    """True for an object that has all that is required of an entry of a table."""
    entry, _ = unwrap(expected)
    if not isinstance(entry, inspect.StructType) or not isinstance(node.value, dict):
        return False
    required = [field.encode_name for field in entry.fields if field.required]
    return bool(required) and all(name in node.value for name in required)


def _found(node: Node) -> str:
    """What stands there, as it is written in the file; only its kind where it might be a secret."""
    match node.value:
        case list():
            return "a list"
        case dict():
            return "an object"
    if is_secret_name(dotted(node.pointer)):
        return "something else"
    value = node.value
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else "a long string"
    return "null" if value is None else str(value).lower()
