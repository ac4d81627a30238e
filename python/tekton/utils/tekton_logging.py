"""Logging: the standard library's loggers, written beside the program as JSON lines or as text.

    logger = get_logger("example_component")
    logger.info("component ready", extra={"component": "rhetor", "attempt": 2})

Whatever is given in `extra` is part of the record: a member of the JSON object, or `name=value` at the end of the
line. So is what the code that logs is `bound` to, and its trace. A line is one record: control characters are escaped
(only tracebacks span lines). Texts in fields with a secret name (`api_token`) are not written, nor is what has the form
of a credential. A record says what held when it was logged; it is put into words and written by a thread of its own
(`log_writer` has the rules). Nothing is configured on import; a program calls `configure_logging` once.
"""

import logging
import sys
import threading
from types import TracebackType
from typing import TextIO

from tekton.utils.log_context import bound
from tekton.utils.log_format import JSONFormatter, TextFormatter
from tekton.utils.log_levels import level_number, levels, set_level
from tekton.utils.log_writer import LAST_FLUSH, LineFormatter, QueueHandler, flush_all

__all__ = [
    "JSONFormatter",
    "TextFormatter",
    "bound",
    "configure_logging",
    "flush_logging",
    "get_logger",
    "levels",
    "set_level",
]

_uncaught = logging.getLogger("tekton.uncaught")


def get_logger(name: str) -> logging.Logger:
    """The logger called *name*."""
    return logging.getLogger(name)


def configure_logging(
    level: str = "info", *, json: bool = False, stream: TextIO | None = None, everything: bool = False
) -> None:
    """Write every record of at least *level* to *stream* (standard error), as JSON lines or as text.

    With *everything*, warnings and exceptions that nobody has caught are records too. Replaces what an earlier call set
    up, and leaves handlers of others alone. Raises ValueError for an unknown level.
    """
    number = level_number(level)
    _write_to(stream or sys.stderr, JSONFormatter() if json else TextFormatter())
    logging.root.setLevel(number)
    if everything:
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread
        sys.unraisablehook = _log_unraisable


def flush_logging(timeout: float = LAST_FLUSH) -> bool:
    """Wait until all that was logged is written, at most *timeout* seconds; whether it is."""
    return flush_all(timeout)


def _write_to(stream: TextIO, form: LineFormatter) -> None:
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, QueueHandler)]
    if ours and ours[0].stream is stream:
        ours[0].form = form
        return
    root.addHandler(QueueHandler(stream, form))
    for handler in ours:
        root.removeHandler(handler)
        handler.close()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _uncaught.critical("nobody has caught %s", kind.__name__, exc_info=(kind, error, trace))
    flush_logging()


def _log_uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if issubclass(told.exc_type, SystemExit):
        return
    name = told.thread.name if told.thread is not None else "a thread"
    _uncaught.error("%s has ended by %s", name, told.exc_type.__name__, exc_info=_exc_info(told))


def _log_unraisable(told: "sys.UnraisableHookArgs") -> None:
    where = told.err_msg or "an exception that could not be raised"
    _uncaught.error("%s", where, exc_info=_exc_info(told))


def _exc_info(
    told: "threading.ExceptHookArgs | sys.UnraisableHookArgs",
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    return told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback
