"""JSON that remembers where every value stands.

A strict parser (RFC 8259) for files that people write: it keeps the line, the column and the JSON pointer of each
value, so that whoever checks the contents can say where a mistake is. A leading byte order mark is accepted.
Duplicate keys (the first one counts) and numbers out of range are noted and parsing goes on; after a syntax error it
cannot, so that one is the last of its file. Slow beside a native parser: meant for configuration, not for traffic.
"""

import bisect
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tekton.utils.tekton_errors import Mistake

MAX_DEPTH = 64
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![0-9A-Za-z.+-])")
_WORD = re.compile(r"[-+.\w]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_FOREIGN_WORDS = (
    dict.fromkeys(("True", "TRUE", "yes"), "true")
    | dict.fromkeys(("False", "FALSE", "no"), "false")
    | dict.fromkeys(("None", "NULL", "nil", "undefined"), "null")
)


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document.

    `value` is None, a bool, int, float or str, a list of nodes, or a dict of nodes by key. `offset` counts
    characters from the start of the text; `key_offset` is where the key stands that names the value (the value
    itself, in lists and at the root). `broken` values have been reported already.
    """

    value: "bool | int | float | str | list[Node] | dict[str, Node] | None"
    pointer: str
    offset: int
    key_offset: int
    broken: bool = False

    def plain(self) -> Any:
        """The value as `json.loads` would give it."""
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items()}
            case list():
                return [node.plain() for node in self.value]
        return self.value


@dataclass
class Document:
    """A parsed file. `root` is None when it has no value because of a syntax error (or could not be read)."""

    source: str
    text: str = ""
    root: Node | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of a character offset."""
        line = bisect.bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def mistake(self, offset: int, pointer: str, problem: str, suggestion: str | None = None) -> Mistake:
        """A mistake at that place of this document; it is not recorded here."""
        return Mistake(self.source, *self.position(offset), pointer, problem, suggestion)

    def find(self, pointer: str) -> Node | None:
        """The node at a JSON pointer, or None."""
        node = self.root
        for token in pointer.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if node is None or not isinstance(node.value, dict | list):
                return None
            if isinstance(node.value, dict):
                node = node.value.get(key)
            else:
                node = node.value[int(key)] if key.isdecimal() and int(key) < len(node.value) else None
        return node

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]


def parse(data: bytes, source: str) -> Document:
    """Parse the bytes of a file; what is wrong with it is in `mistakes` of the answer. Never raises."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[start : error.start].decode("utf-8", "replace")) + 1
        line = data.count(b"\n", 0, error.start) + 1
        return Document(source, mistakes=[Mistake(source, line, column, "", "the file is not UTF-8 text")])
    document = Document(source, text)
    try:
        document.root = _Parser(document).document()
    except _JSONSyntaxError as error:
        document.mistakes.append(document.mistake(error.offset, error.pointer, error.problem, error.suggestion))
    return document


def child_pointer(pointer: str, key: str | int) -> str:
    """The JSON pointer of a member of the value at *pointer*."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


class _JSONSyntaxError(Exception):
    def __init__(self, offset: int, pointer: str, problem: str, suggestion: str | None = None) -> None:
        self.offset = offset
        self.pointer = pointer
        self.problem = problem
        self.suggestion = suggestion


class _Parser:
    """Recursive descent; `_at` is the offset of the next character that was not consumed."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._text = document.text
        self._at = 0

    def document(self) -> Node:
        root = self._value("", None, 0)
        self._skip_space("")
        if self._at < len(self._text):
            raise _JSONSyntaxError(self._at, "", f"expected the end of the file, found {self._found()}")
        return root

    def _value(self, pointer: str, key_offset: int | None, depth: int) -> Node:
        self._skip_space(pointer)
        start = self._at
        key_offset = start if key_offset is None else key_offset
        match self._peek():
            case "{" | "[" if depth == MAX_DEPTH:
                raise _JSONSyntaxError(start, pointer, f"nested deeper than {MAX_DEPTH} levels")
            case "{":
                return Node(self._object(pointer, depth), pointer, start, key_offset)
            case "[":
                return Node(self._array(pointer, depth), pointer, start, key_offset)
            case '"':
                text, broken = self._string(pointer)
                return Node(text, pointer, start, key_offset, broken)
        if (number := _NUMBER.match(self._text, start)) is not None:
            return self._number(number, pointer, key_offset)
        return Node(self._word(pointer), pointer, start, key_offset)

    def _object(self, pointer: str, depth: int) -> dict[str, Node]:
        members: dict[str, Node] = {}
        opened = self._at
        while self._another("}", pointer, opened, first=not members):
            key_offset = self._at
            if self._peek() != '"':
                raise _JSONSyntaxError(key_offset, pointer, *self._bad_key())
            key, _ = self._string(pointer)
            where = child_pointer(pointer, key)
            self._skip_space(where)
            if self._peek() != ":":
                raise _JSONSyntaxError(self._at, where, f"expected ':' after the key, found {self._found()}")
            self._at += 1
            node = self._value(where, key_offset, depth + 1)
            if key in members:
                line, _ = self._document.position(members[key].key_offset)
                self._note(key_offset, where, f"duplicate key {key!r} (first on line {line})")
            else:
                members[key] = node
        return members

    def _array(self, pointer: str, depth: int) -> list[Node]:
        items: list[Node] = []
        opened = self._at
        while self._another("]", pointer, opened, first=not items):
            items.append(self._value(child_pointer(pointer, len(items)), None, depth + 1))
        return items

    def _another(self, close: str, pointer: str, opened: int, *, first: bool) -> bool:
        """Consume what stands before the next member (the bracket or a comma), or the closing bracket."""
        if not first:
            self._skip_space(pointer)
        comma = self._at
        if not first and self._peek() == close:
            self._at += 1
            return False
        if not first and self._peek() != ",":
            raise self._missing_comma(close, pointer, opened)
        self._at += 1
        self._skip_space(pointer)
        if not self._peek():
            raise self._unclosed(close, pointer, opened)
        if self._peek() != close:
            return True
        if not first:
            raise _JSONSyntaxError(comma, pointer, f"trailing comma before {close!r}", "remove it")
        self._at += 1
        return False

    def _missing_comma(self, close: str, pointer: str, opened: int) -> _JSONSyntaxError:
        if not self._peek():
            return self._unclosed(close, pointer, opened)
        suggestion = "a comma is missing before it" if self._peek() in '"{[' else None
        return _JSONSyntaxError(self._at, pointer, f"expected ',' or {close!r}, found {self._found()}", suggestion)

    def _unclosed(self, close: str, pointer: str, opened: int) -> _JSONSyntaxError:
        line, column = self._document.position(opened)
        bracket = "{" if close == "}" else "["
        problem = f"the file ends before the {bracket!r} of line {line}, column {column} is closed"
        return _JSONSyntaxError(self._at, pointer, problem)

    def _string(self, pointer: str) -> tuple[str, bool]:
        start = self._at
        match = _STRING.match(self._text, start)
        if match is None:
            raise self._bad_string(pointer)
        self._at = match.end()
        token = match.group()
        if "\\" not in token:
            return token[1:-1], False
        text: str = json.loads(token)
        broken = _SURROGATE.search(text) is not None
        if broken:
            self._note(start, pointer, "half of a surrogate pair (\\ud800 to \\udfff) is not a character")
            text = _SURROGATE.sub("\ufffd", text)
        return text, broken

    def _bad_string(self, pointer: str) -> _JSONSyntaxError:
        """Says where and why the string that begins here is wrong."""
        valid = re.compile(_STRING.pattern[:-1]).match(self._text, self._at)
        end = valid.end() if valid else self._at + 1
        found = self._text[end : end + 1]
        if found == "\\":
            escape = self._text[end : end + 2]
            return _JSONSyntaxError(end, pointer, f"unknown escape {escape!r}", "write '\\\\' for a backslash")
        if found in ("", "\n", "\r"):
            return _JSONSyntaxError(self._at, pointer, "the string is not closed on its line", "add the missing '\"'")
        problem = f"raw control character {found!r} in a string"
        return _JSONSyntaxError(end, pointer, problem, f"write \\u{ord(found):04x}")

    def _number(self, match: re.Match[str], pointer: str, key_offset: int) -> Node:
        self._at = match.end()
        text = match.group()
        number: int | float
        if match.group(1) is None and match.group(2) is None:
            number = int(text) if len(text) <= 21 else MAX_INTEGER + 1
            broken = not MIN_INTEGER <= number <= MAX_INTEGER
        else:
            number = float(text)
            broken = number in (float("inf"), float("-inf"))
        if broken:
            self._note(match.start(), pointer, "the number is out of range")
        return Node(number, pointer, match.start(), key_offset, broken)

    def _word(self, pointer: str) -> bool | None:
        match = _WORD.match(self._text, self._at)
        word = match.group() if match else ""
        if word not in _WORDS:
            raise _JSONSyntaxError(self._at, pointer, *self._bad_value(word))
        self._at += len(word)
        return _WORDS[word]

    def _bad_value(self, word: str) -> tuple[str, str | None]:
        if word in _FOREIGN_WORDS:
            return f"{word} is not JSON", f"write {_FOREIGN_WORDS[word]}"
        if word.lstrip("+-").lower() in ("nan", "inf", "infinity"):
            return f"{word} is not a JSON number", None
        if word[:1].isdigit() or word[:1] in ("-", "+", "."):
            return f"malformed number {word[:40]!r}", None
        advice = "put it in double quotes" if word or self._peek() == "'" else None
        return f"expected a value, found {self._found()}", advice

    def _bad_key(self) -> tuple[str, str | None]:
        match = _WORD.match(self._text, self._at)
        advice = "keys are put in double quotes" if match or self._peek() == "'" else None
        return f"expected a key, found {self._found()}", advice

    def _skip_space(self, pointer: str) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        if self._text.startswith(("//", "/*", "#"), self._at):
            raise _JSONSyntaxError(self._at, pointer, "JSON has no comments", "remove it")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _found(self) -> str:
        word = _WORD.match(self._text, self._at)
        text = word.group()[:40] if word else self._peek()
        return repr(text) if text else "the end of the file"

    def _note(self, offset: int, pointer: str, problem: str) -> None:
        self._document.mistakes.append(self._document.mistake(offset, pointer, problem))
