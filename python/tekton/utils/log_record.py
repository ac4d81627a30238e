"""A record as it was when it was logged: nothing in it can change until it is written, in another thread.

Most records hold texts and numbers only, and are kept as they are (`is_settled` tells). Of all others a copy is made at
once (`settled`): the message is put together, values are taken apart or described by their `repr`, and of an exception
its traceback is kept, not its frames, which would keep alive whatever their variables hold.
"""

import logging
import threading
import traceback
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

LONG: Final = 4096
"""Characters of one text, above which a record is not kept as it is."""

LONGEST: Final = 32 * 1024
"""Characters of one text that are written; the rest is counted."""

_TRACED: Final = "_traced"

STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", _TRACED}
"""The attributes that are no fields."""

_STANDARD_COUNT: Final = len(logging.makeLogRecord({}).__dict__)
_DEEPEST: Final = 8
_ROOM: Final = 4 * LONGEST
_FRAME: Final = 100
_SETTLED_TYPES: Final = frozenset({int, float, bool, type(None)})

_nesting = threading.local()


def is_settled(record: logging.LogRecord) -> bool:
    """True when *record* can be kept as it is."""
    message = record.msg
    if type(message) is not str or len(message) > LONG or record.exc_info or record.stack_info:
        return False
    arguments = record.args
    if arguments and (type(arguments) is not tuple or not _are_settled(arguments)):
        return False
    attributes = record.__dict__
    # The fields of `extra` come behind those that every record has.
    return len(attributes) == _STANDARD_COUNT or _are_settled(islice(attributes.values(), _STANDARD_COUNT, None))


def _are_settled(values: Iterable[object]) -> bool:
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > LONG:  # type: ignore[arg-type] # it is one
                return False
        elif kind not in _SETTLED_TYPES:
            return False
    return True


def settled(record: logging.LogRecord) -> tuple[logging.LogRecord, int]:
    """A copy of *record* that can be kept, whatever is in it, and about how many characters it takes. Never raises."""
    copy = object.__new__(logging.LogRecord)
    copy.__dict__.update(record.__dict__)
    room = _Room()
    for name, value in record.__dict__.items():
        if name not in STANDARD:
            copy.__dict__[name] = room.take(value)
    copy.msg, copy.args, copy.exc_info = cut(_message(record)), None, None
    if record.exc_info and not record.exc_text:
        traced = _trace(record.exc_info)
        size = _size(traced)
        if size > _ROOM and traced is not None:
            copy.exc_text = cut("".join(traced.format()).rstrip("\n"))
        else:
            copy.__dict__[_TRACED] = traced
            room.used += size
    if record.stack_info:
        copy.stack_info = cut(str(record.stack_info))
    return copy, room.used + len(copy.msg) + len(copy.stack_info or "") + len(copy.exc_text or "")


def message_of(record: logging.LogRecord) -> str:
    """The message with its arguments; when they do not fit it, both, and why."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg!s} {_described(record.args)} (not put together: {type(error).__name__})"


def trace_of(record: logging.LogRecord) -> str | None:
    """The traceback and the stack of *record*, several lines; None when it has neither."""
    traced = record.__dict__.pop(_TRACED, None)
    if isinstance(traced, traceback.TracebackException):
        record.exc_text = "".join(traced.format()).rstrip("\n")
    elif record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    parts = [part for part in (record.exc_text, record.stack_info) if part]
    return cut("\n".join(parts)) if parts else None


def frozen(value: object) -> object:
    """*value* as text, numbers, lists and objects that nobody else has: as much of it as a line can hold."""
    return _Room().take(value)


def cut(text: str) -> str:
    """*text*, or its beginning and how much more there is."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… (+{len(text) - LONGEST} characters)"


class _Room:
    """What a record may hold in its fields, in characters and members: what is too much is left out."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, value: object, depth: int = _DEEPEST) -> object:
        kind = type(value)
        self.used += 8
        if kind in _SETTLED_TYPES:
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if depth and isinstance(value, dict):
            return self._mapping(value, depth - 1)
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self.take(item, depth - 1) for item in _copied(value) if self.used < _ROOM]
        return self._text(_described(value))

    def _text(self, text: str) -> str:
        text = cut(text)
        self.used += len(text)
        return text

    def _mapping(self, value: "dict[object, object]", depth: int) -> "dict[str, object]":
        pairs = _copied(value)
        return {self._text(_name(key)): self.take(value.get(key), depth) for key in pairs if self.used < _ROOM}


def _message(record: logging.LogRecord) -> str:
    # What a record of a record's `__repr__` says is put together; one that goes on like that is not.
    depth = getattr(_nesting, "depth", 0)
    if depth >= 3:
        return f"{record.msg if isinstance(record.msg, str) else type(record.msg)} (logged while it was described)"
    _nesting.depth = depth + 1
    try:
        return message_of(record)
    finally:
        _nesting.depth = depth


def _trace(exc_info: object) -> traceback.TracebackException | None:
    if not isinstance(exc_info, tuple) or exc_info[0] is None:
        return None
    try:
        # The lines are looked up by who writes them: that reads files.
        return traceback.TracebackException(*exc_info, lookup_lines=False, compact=True)
    except Exception:
        return None


def _size(traced: traceback.TracebackException | None) -> int:
    """About how many characters *traced* takes, with all that has led to it."""
    size = 0
    pending = [traced]
    while pending:
        if (one := pending.pop()) is not None:
            size += len(str(one)) + _FRAME * len(one.stack)
            size += sum(len(str(note)) for note in getattr(one, "__notes__", None) or ())
            pending += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return size


def _described(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: its repr raises {type(error).__name__}>"


def _name(name: object) -> str:
    return name if type(name) is str else _described(name)


def _copied(members: "Iterable[Any]") -> "list[Any]":
    try:
        return list(members)
    except Exception as error:  # somebody changes it just now
        return [_described(error)]
