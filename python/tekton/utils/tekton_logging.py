"""Logging: the standard library's loggers, with two ways to write a record.

    logger = get_logger("example_component")
    logger.info("component ready", extra={"component": "rhetor", "attempt": 2})

Whatever is given in `extra` is part of the record: a member of the JSON object, or `name=value` at the end of the
line. A line is one record: control characters are escaped (only tracebacks span lines). Texts in fields with a
secret name (`api_token`) are not written. Nothing is configured on import; a program calls `configure_logging` once.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from tekton.utils.redaction import redact_json

_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}


def get_logger(name: str) -> logging.Logger:
    """The logger called *name*."""
    return logging.getLogger(name)


def configure_logging(level: str = "info", *, json: bool = False, stream: TextIO | None = None) -> None:
    """Write every record of at least *level* to *stream* (standard error), as JSON lines or as text.

    Replaces what an earlier call set up, and leaves handlers of others alone. Raises ValueError for an unknown level.
    """
    if level not in _LEVELS:
        raise ValueError(f"unknown log level {level!r}; one of {', '.join(_LEVELS)}")
    handler = _TektonHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if json else TextFormatter())
    root = logging.getLogger()
    for other in [other for other in root.handlers if isinstance(other, _TektonHandler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])


class JSONFormatter(logging.Formatter):
    """One JSON object per record: `time` (UTC), `level`, `logger`, `message`, the extra fields, `exception`.

    An extra field never replaces one of these; values that are not JSON are written as their `repr`.
    """

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {name: value for name, value in _fields(record).items() if name not in document}
        if (trace := _trace(self, record)) is not None:
            document["exception"] = trace
        return _encode(document)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO    example_component: component ready component=rhetor attempt=2`"""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}"
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        line = (head + fields).translate(_ESCAPES)
        trace = _trace(self, record)
        return line if trace is None else f"{line}\n{trace}"


class _TektonHandler(logging.StreamHandler[TextIO]):
    """Only so that `configure_logging` recognises its own handler."""


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    if not fields:
        return fields
    try:
        redacted = redact_json(fields)
    except RecursionError:  # a value that contains itself
        redacted = {name: repr(value) for name, value in fields.items()}
    assert isinstance(redacted, dict)
    return redacted


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    parts = [record.exc_text, record.stack_info and formatter.formatStack(record.stack_info)]
    return "\n".join(part for part in parts if part) or None


def _shown(value: object) -> str:
    if isinstance(value, str) and value and value.isprintable() and not set(' "=') & set(value):
        return value
    return _encode(value)


def _encode(value: object) -> str:
    """*value* as JSON; a log line must come out whatever stands in its fields."""
    try:
        return msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        members = value if isinstance(value, dict) else {"value": value}
        return json.dumps({str(name): one if isinstance(one, str) else repr(one) for name, one in members.items()})
