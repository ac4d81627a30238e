"""How a record is written: as a JSON object, or as a line of text. One record is one line, and no line is forged.

Control characters are escaped; in text, only tracebacks span lines, each of them indented. Fields with a secret name
are blacked out, and so is what has the form of a credential, wherever it stands. Both forms come out whatever a record
holds.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tekton.utils.log_record import STANDARD, message_of, trace_of
from tekton.utils.redaction import redact_json, redact_message
from tekton.utils.trace_context import TraceContext

NOTHING: Final[Mapping[str, object]] = {}
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class JSONFormatter(logging.Formatter):
    """One JSON object per record: `time` (UTC), `level`, `logger`, `message`, the fields, `exception`.

    A field never replaces one of these; values that are not JSON are written as their `repr`.
    """

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record)

    def line(
        self, record: logging.LogRecord, bound: Mapping[str, object] = NOTHING, trace: TraceContext | None = None
    ) -> str:
        """*record* with the fields of its context."""
        document: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_message(message_of(record)),
        }
        if _has_fields(record, bound, trace):
            fields = fields_of(record, bound, trace)
            document |= {name: value for name, value in fields.items() if name not in document}
        if (text := trace_of(record)) is not None:
            document["exception"] = redact_message(text)
        return _encode(document)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO    example_component: component ready component=rhetor attempt=2`"""

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record)

    def line(
        self, record: logging.LogRecord, bound: Mapping[str, object] = NOTHING, trace: TraceContext | None = None
    ) -> str:
        """*record* with the fields of its context."""
        message = redact_message(message_of(record))
        line = f"{_time(record.created)} {record.levelname:<7} {record.name}: {message}"
        if _has_fields(record, bound, trace):
            line += "".join(f" {name}={_shown(value)}" for name, value in fields_of(record, bound, trace).items())
        if not line.isprintable():
            line = line.translate(_ESCAPES)
        text = trace_of(record)
        return line if text is None else f"{line}\n{_escaped_lines(redact_message(text))}"


def fields_of(record: logging.LogRecord, bound: Mapping[str, object], trace: TraceContext | None) -> dict[str, object]:
    """The fields of *record*: those of its context, then its own; without secrets."""
    fields: dict[str, object] = dict(bound)
    if trace is not None:
        fields |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
    fields |= {name: value for name, value in record.__dict__.items() if name not in STANDARD}
    try:
        redacted = redact_json(fields, clean=redact_message)
    except RecursionError:  # a value that contains itself
        redacted = {name: repr(value) for name, value in fields.items()}
    assert isinstance(redacted, dict)
    return redacted


_PLAIN: Final = len(logging.makeLogRecord({}).__dict__)


def _has_fields(record: logging.LogRecord, bound: Mapping[str, object], trace: TraceContext | None) -> bool:
    return bool(bound) or trace is not None or len(record.__dict__) > _PLAIN


def _time(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped_lines(text: str) -> str:
    """A traceback: its lines stay lines, none of them looks like a record, and none is obeyed by a terminal."""
    return "\n".join(f"  {line if line.isprintable() else line.translate(_ESCAPES)}" for line in text.split("\n"))


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
