"""What a line of a log says: JSON lines (and the usual text lines) with their time, level and message.

Components write what they like. Nothing here fails, whatever a line is.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from tekton.utils.log_query import EVERYTHING, LEVELS, Query, Seen

__all__ = ["LEVELS", "LineFilter", "LogLine", "clock_time", "read_line"]

_T = TypeVar("_T")

_MOST_PARSED: Final = 256 * 1024
_HEAD: Final = 100

_TIME_NAMES: Final = ("time", "timestamp", "ts", "@timestamp", "@t", "asctime", "datetime")
_LEVEL_NAMES: Final = ("level", "levelname", "severity", "lvl", "log.level", "level_name", "@l", "loglevel")
_MESSAGE_NAMES: Final = ("message", "msg", "event", "@m", "@mt", "text", "body")

_WORDS: Final = {
    "debug": ("trace", "verbose", "debug", "dbug", "finest", "finer", "fine"),
    "info": ("info", "information", "notice", "log", "success"),
    "warning": ("warning", "warn"),
    "error": ("error", "err", "eror", "severe"),
    "critical": ("critical", "crit", "fatal", "panic", "alert", "emerg", "emergency"),
}
_LEVEL_OF: Final = {word: level for level, words in _WORDS.items() for word in words}
# In text, only words that are hardly used otherwise, and in capitals.
_IN_TEXT: Final = re.compile(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC)\b")
_IN_LOGFMT: Final = re.compile(r"\b(?:level|lvl|severity)=\"?([A-Za-z]+)")
_TIME_IN_TEXT: Final = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?)")


class LogLine(NamedTuple):
    """One line. `time` is in seconds since 1970; `fields` holds what else a JSON line says.

    `message` is None for a line that is not JSON.
    """

    text: str
    time: float | None = None
    level: str | None = None
    message: str | None = None
    fields: Mapping[str, Any] = {}


def read_line(text: str) -> LogLine:
    """What *text* says."""
    if text.startswith("{") and len(text) <= _MOST_PARSED:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return _read_document(text, document)
    head = text[:_HEAD]
    found = _TIME_IN_TEXT.match(head)
    return LogLine(text, _time(found[1]) if found else None, _level_in_text(head))


class LineFilter:
    """The lines of *unit* that *query* wants, one after the other: one without a time has that of the line before."""

    def __init__(self, query: Query = EVERYTHING, unit: str = "") -> None:
        self._query = query
        self._unit = unit
        self._time: float | None = None

    @property
    def open(self) -> bool:
        """True when everything passes."""
        return self._query.open

    def passes(self, text: str) -> bool:
        """True for a line that was asked for."""
        if self.open:
            return True
        line = read_line(text)
        if line.time is not None:
            self._time = line.time
        return self._query.wants(Seen(self._unit, self._time, line))

    def choose(self, lines: Iterable[str]) -> list[str]:
        """Those of *lines* that pass."""
        self._time = None
        return [line for line in lines if self.passes(line)]


def _read_document(text: str, document: dict[str, Any]) -> LogLine:
    time_name, time = _first(document, _TIME_NAMES, _time)
    level_name, level = _first(document, _LEVEL_NAMES, _level)
    message_name, message = _first(document, _MESSAGE_NAMES, _text)
    if message is None:
        return LogLine(text, time, level)
    used = {time_name, level_name, message_name}
    return LogLine(text, time, level, message, {name: value for name, value in document.items() if name not in used})


def _first(
    document: dict[str, Any], names: Iterable[str], read: Callable[[object], _T | None]
) -> tuple[str | None, _T | None]:
    """The first of *names* whose value can be read, and what it is."""
    for name in names:
        if (found := read(document.get(name))) is not None:
            return name, found
    return None, None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _level(value: object) -> str | None:
    match value:
        case str():
            return _LEVEL_OF.get(value.strip().lower())
        case bool():
            return None
        case int() if 10 <= value <= 60:
            # As pino and bunyan number them; 50 is Python's "critical", but no JSON formatter writes that number.
            return ("debug", "debug", "info", "warning", "error", "critical")[value // 10 - 1]
        case int() if 0 <= value <= 7:
            # As syslog does.
            return ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")[value]
    return None


def _level_in_text(head: str) -> str | None:
    found = _IN_TEXT.search(head) or _IN_LOGFMT.search(head)
    return _LEVEL_OF.get(found[1].lower()) if found else None


def _time(value: object) -> float | None:
    match value:
        case str():
            return _time_of_text(value)
        case bool():
            return None
        case int() | float() if 1e8 < value < 1e20:
            # Seconds, milliseconds, microseconds or nanoseconds since 1970.
            return float(value) / next((scale for scale in (1e9, 1e6, 1e3) if value >= 1e8 * scale), 1.0)
    return None


def _time_of_text(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(_digits(text.strip().replace(",", ".", 1)))
    except ValueError:
        return None
    # Without a zone it is local time, as the standard library's loggers write it.
    return (moment if moment.tzinfo else moment.astimezone()).timestamp()


def _digits(text: str) -> str:
    """At most six digits of a second: more are not understood."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def clock_time(moment: float) -> str:
    """A time for people: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
