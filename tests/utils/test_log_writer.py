"""Whatever becomes of what is written, who logs goes on, and what is missing is told."""

import errno
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.log_format import JSONFormatter, TextFormatter
from tekton.utils.log_writer import SHARE, QueueHandler

MakeLogger = Callable[..., logging.Logger]


class Gate:
    """A form that makes lines only as long as it is open. `entered` is set when the writer has come to it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self._form = JSONFormatter()

    def line(self, *arguments: Any) -> str:
        self.entered.set()
        self.opened.wait(30)
        return self._form.line(*arguments)


@pytest.fixture
def logger_of() -> Iterator[MakeLogger]:
    handlers: list[logging.Handler] = []

    def make(handler: logging.Handler, name: str = "app") -> logging.Logger:
        handlers.append(handler)
        logger = logging.Logger(name, logging.DEBUG)  # noqa: LOG001 - one that has no other handlers
        logger.addHandler(handler)
        return logger

    yield make
    for handler in handlers:
        handler.close()


def messages(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["message"] for line in stream.getvalue().splitlines()]


def test_what_a_flood_leaves_no_room_for_is_counted_and_told(logger_of: MakeLogger) -> None:
    stream, gate = io.StringIO(), Gate()
    handler = QueueHandler(stream, gate, capacity=64)
    logger = logger_of(handler)
    logger.info("first")
    assert gate.entered.wait(10)

    for number in range(1000):
        logger.info("%d", number)
    gate.opened.set()
    assert handler.written(10)

    said = messages(stream)
    kept = [message for message in said if message.isdecimal()]
    assert kept == [str(number) for number in range(len(kept))]
    [told] = [message for message in said if "missing" in message]
    assert told == f"{1000 - len(kept)} records are missing from this log: app {1000 - len(kept)}"


def test_a_logger_that_floods_does_not_push_out_the_others_and_errors_have_room_of_their_own(
    logger_of: MakeLogger,
) -> None:
    stream, gate = io.StringIO(), Gate()
    handler = QueueHandler(stream, gate, capacity=8 * SHARE)
    flood, quiet = logger_of(handler, "flood"), logger_of(handler, "quiet")
    flood.info("first")
    assert gate.entered.wait(10)

    for _ in range(5000):
        flood.info("flood")
    for number in range(100):
        quiet.info("quiet %d", number)
    for crowd in range(20):
        for _ in range(SHARE):
            logger_of(handler, f"crowd {crowd}").info("crowd")
    quiet.error("an error")
    quiet.info("too late")
    gate.opened.set()
    assert handler.written(10)

    said = messages(stream)
    assert [message for message in said if message.startswith("quiet")] == [f"quiet {n}" for n in range(100)]
    assert said.count("flood") == 5 * SHARE
    assert "an error" in said
    assert "too late" not in said


def test_long_records_are_cut_and_take_no_more_memory_than_they_may(logger_of: MakeLogger) -> None:
    stream, gate = io.StringIO(), Gate()
    handler = QueueHandler(stream, gate)
    logger = logger_of(handler)
    logger.info("first")
    assert gate.entered.wait(10)
    huge = "x" * 10_000_000

    for _ in range(1000):
        logger.info(huge)
    gate.opened.set()
    assert handler.written(30)

    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) < 40_000
    assert lines[1].endswith('… (+9967232 characters)"}')
    assert sum(map(len, lines)) < 20_000_000
    assert any("are missing" in line for line in lines)


def test_nobody_waits_for_a_reader_that_has_stopped_reading(logger_of: MakeLogger) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        handler = QueueHandler(stream, TextFormatter(), capacity=512)
        logger = logger_of(handler)
        for number in range(3000):
            logger.info("%d %s", number, "x" * 1000)

        assert not handler.written(0.01)
        with open(reader, "rb") as pipe:
            drained = threading.Thread(target=pipe.read)
            drained.start()
            assert handler.written(30)
            handler.close()
            stream.close()
            drained.join(30)


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Lets this process write files of so many bytes at most."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size or before[0], before[1]))

    yield limit
    limit(0)
    signal.signal(signal.SIGXFSZ, handled)


def test_what_a_full_disk_does_not_take_is_told_when_there_is_room_again(
    logger_of: MakeLogger, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        handler = QueueHandler(stream, TextFormatter())
        logger = logger_of(handler)
        logger.info("before")
        assert handler.written(10)

        small_files(path.stat().st_size + 20)
        logger.info("torn")
        assert handler.written(10)
        logger.info("lost")
        assert handler.written(10)
        small_files(0)
        logger.info("after")
        assert handler.written(10)

    before, torn, after, told = path.read_text().splitlines()
    assert before.endswith("app: before")
    assert len(torn) == 20
    assert after.endswith("app: after")
    assert told.endswith("tekton.log: 2 records are missing from this log: not written 2")


def test_a_stream_that_was_closed_stops_nobody(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())
    logger = logger_of(handler)
    stream.close()

    logger.info("lost")

    assert handler.written(10)


class Odd(io.StringIO):
    """A stream that fails once, as no stream should."""

    failed = False

    def write(self, text: str) -> int:
        if not self.failed:
            self.failed = True
            raise RuntimeError("odd")
        return super().write(text)


def test_a_stream_that_fails_in_its_own_way_stops_nobody(logger_of: MakeLogger) -> None:
    stream = Odd()
    handler = QueueHandler(stream, JSONFormatter())
    logger = logger_of(handler)
    logger.info("lost")
    assert handler.written(10)

    logger.info("written")

    assert handler.written(10)
    assert messages(stream) == ["written", "1 records are missing from this log: not written 1"]


class Broken:
    """A form that makes no line."""

    def line(self, *_: Any) -> str:
        raise RuntimeError("broken\n")


def test_a_form_that_raises_loses_no_record(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, Broken())

    logger_of(handler).info("said\nso")

    assert handler.written(10)
    [line] = stream.getvalue().splitlines()
    assert "INFO app" in line
    assert "said" in line
    assert "RuntimeError" in line


def test_arguments_that_do_not_fit_lose_no_record(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())

    logger_of(handler).info("%d and %d", "one")
    logger_of(handler).info("%d", ["one"])

    assert handler.written(10)
    assert [message.partition(" (not put")[0] for message in messages(stream)] == [
        "%d and %d ('one',)",
        "%d (['one'],)",
    ]


def test_a_value_may_log_while_it_is_described(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())
    logger = logger_of(handler)

    class Talkative:
        def __repr__(self) -> str:
            logger.info("described")
            return "talkative"

    class Endless:
        def __repr__(self) -> str:
            logger.info("again: %r", self)
            return "endless"

    logger.info("one: %r", Talkative())
    logger.info("two: %r", Endless())

    assert handler.written(10)
    said = messages(stream)
    assert said[:2] == ["described", "one: talkative"]
    assert said[-1] == "two: endless"
    assert len(said) < 10


def test_a_value_that_cannot_be_described_loses_no_record(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    logger_of(handler).info("it: %r", Shy(), extra={"field": Shy(), "nested": {"a": [Shy()]}})

    assert handler.written(10)
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["field"] == "<Shy: its repr raises RuntimeError>"


def test_a_filter_decides_before_anything_is_kept(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())
    handler.addFilter(lambda record: record.getMessage() != "no")
    logger = logger_of(handler)

    logger.info("no")
    logger.info("yes")

    assert handler.written(10)
    assert messages(stream) == ["yes"]


def test_who_logs_after_the_end_writes_for_himself(logger_of: MakeLogger) -> None:
    stream = io.StringIO()
    handler = QueueHandler(stream, JSONFormatter())
    logger = logger_of(handler)
    logger.info("before")
    handler.close()

    logger.info("after")

    assert messages(stream) == ["before", "after"]


PROGRAM = """
import {module}, logging, multiprocessing, os, sys
from tekton.utils.tekton_logging import configure_logging, flush_logging, get_logger
configure_logging("debug")
logger = get_logger("app")
"""

LAST_WORDS = {
    "the end": "logger.info('last')",
    "an exception": "configure_logging(everything=True); logger.info('last'); 1 / 0",
    "sys.exit": "logger.info('last'); sys.exit(0)",
    "atexit": "import atexit; atexit.register(logger.info, 'last')",
    "os._exit after a flush": "logger.info('last'); flush_logging(); os._exit(0)",
    "a child of fork": "logger.info('mine')\nif os.fork(): os.wait()\nelse: logger.info('last')",
    "a child of multiprocessing": (
        "logger.info('mine')\n"
        "process = multiprocessing.get_context('fork').Process(target=logger.info, args=('last',))\n"
        "process.start(); process.join()"
    ),
    "a shutdown": "logger.info('last'); logging.shutdown(); os._exit(0)",
}


@pytest.mark.parametrize("way", LAST_WORDS)
def test_the_last_words_of_a_program_are_written_once(way: str) -> None:
    program = PROGRAM.format(module="json") + LAST_WORDS[way]

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert done.stderr.count(" last\n") + done.stderr.count("app: last") >= 1, done.stderr
    assert done.stderr.count("app: last") == 1
    assert done.stderr.count("app: mine") <= 1


def test_a_terminal_that_does_not_wait_is_waited_for(logger_of: MakeLogger) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "w") as stream, open(reader, "rb") as pipe:
        handler = QueueHandler(stream, TextFormatter())
        logger = logger_of(handler)
        for _ in range(200):
            logger.info("x" * 1000)
        read: list[bytes] = []
        thread = threading.Thread(target=lambda: read.append(pipe.read()))
        thread.start()
        assert handler.written(30)
        handler.close()
        stream.close()
        thread.join(30)

    assert read[0].count(b"\n") == 200


def test_an_error_of_the_disk_is_an_error_of_the_record_only(
    logger_of: MakeLogger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as stream:
        handler = QueueHandler(stream, TextFormatter())
        logger = logger_of(handler)

        def fails(*_: Any) -> int:
            raise OSError(errno.EIO, "it is broken")

        with monkeypatch.context() as patch:
            patch.setattr("tekton.utils.log_writer._write", fails)
            logger.info("lost")
            assert handler.written(10)
        logger.info("kept")
        assert handler.written(10)

    assert [line.partition(": ")[2] for line in (tmp_path / "log").read_text().splitlines()] == [
        "kept",
        "1 records are missing from this log: not written 1",
    ]
