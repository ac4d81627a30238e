import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tekton.utils.redaction import REDACTED
from tekton.utils.tekton_logging import (
    JSONFormatter,
    TextFormatter,
    bound,
    configure_logging,
    flush_logging,
    get_logger,
)
from tekton.utils.trace_context import CURRENT, TraceContext


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def _written(stream: io.StringIO) -> str:
    assert flush_logging(10)
    return stream.getvalue()


def _json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(stream).splitlines()]


def test_a_record_is_one_json_object_with_its_extra_fields(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream)

    get_logger("example_component").info("Processing %s", "request", extra={"request_id": "5", "attempt": 2})

    [line] = _json_lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "example_component",
        "message": "Processing request",
        "request_id": "5",
        "attempt": 2,
    }


def test_the_text_form_is_one_line_with_the_fields_at_its_end(stream: io.StringIO) -> None:
    configure_logging(stream=stream)

    get_logger("app").warning("slow", extra={"component": "rhetor", "note": "two words", "n": [1], "none": None})

    time, _, rest = _written(stream).partition(" ")
    assert len(time) == len("2026-01-31T12:00:00.000Z")
    assert rest == 'WARNING app: slow component=rhetor note="two words" n=[1] none=null\n'


def test_times_are_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"created": 1_700_000_000.5, "msg": "x", "name": "app", "levelname": "INFO"})

    assert TextFormatter().format(record) == "2023-11-14T22:13:20.500Z INFO    app: x"
    assert json.loads(JSONFormatter().format(record))["time"] == "2023-11-14T22:13:20.500Z"


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_written_with_its_traceback(stream: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, stream=stream)

    try:
        raise RuntimeError("boom")
    except RuntimeError:
        get_logger("app").error("Error starting component", exc_info=True)

    text = _json_lines(stream)[0]["exception"] if as_json else _written(stream)
    assert "Traceback (most recent call last)" in text
    assert "RuntimeError: boom" in text


def test_only_records_of_the_level_and_above_are_written(stream: io.StringIO) -> None:
    configure_logging("warning", json=True, stream=stream)

    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(get_logger("app"), level)(level)

    assert [line["message"] for line in _json_lines(stream)] == ["warning", "error", "critical"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown log level 'loud'; one of debug, info, warning, error, critical"):
        configure_logging("loud")


def test_configuring_again_replaces_and_leaves_other_handlers(stream: io.StringIO) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    configure_logging(stream=io.StringIO())
    configure_logging(json=True, stream=stream)

    get_logger("app").info("once")

    assert len(_json_lines(stream)) == 1
    assert other in logging.getLogger().handlers


@pytest.mark.parametrize("as_json", [True, False])
def test_no_text_can_forge_a_line(stream: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, stream=stream)

    get_logger("app").info("one\ntwo\r\x1b[31m", extra={"field": "three\nfour"})

    assert len(_written(stream).splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_in_fields_are_not_written(stream: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, stream=stream)

    get_logger("app").info(
        "x", extra={"api_token": "canary", "env": {"PASSWORD": "canary"}, "url": "http://a:canary@b"}
    )

    assert "canary" not in _written(stream)
    assert REDACTED in stream.getvalue()


def test_an_extra_field_cannot_replace_a_field_of_the_record(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream)

    get_logger("app").info("x", extra={"level": "forged", "time": 0, "logger": "forged"})

    [line] = _json_lines(stream)
    assert (line["level"], line["logger"]) == ("info", "app")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_comes_out_whatever_stands_in_the_fields(stream: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, stream=stream)
    circle: list[Any] = []
    circle.append(circle)
    values = [circle, object(), {1, 2}, b"\xff", float("nan"), 2**70, "\ud800", {("a", 1): 2}, Exception("e")]

    for value in values:
        get_logger("app").info("odd", extra={"value": value})

    lines = _written(stream).splitlines()
    assert len(lines) == len(values)
    if as_json:
        assert all("value" in json.loads(line) for line in lines)


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()

    get_logger("app").info("hello")

    assert flush_logging(10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("INFO    app: hello\n")


@pytest.mark.parametrize("as_json", [True, False])
def test_what_has_the_form_of_a_credential_is_not_written_wherever_it_stands(
    stream: io.StringIO, as_json: bool
) -> None:
    configure_logging(json=as_json, stream=stream)
    secrets = [
        "tk_" + "Ab1" * 4 + "_" + "x9" * 22,
        "Bearer abcdefgh12345678",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "http://me:hunter22@there",
        "/x?api_token=hunter22",
    ]

    for secret in secrets:
        get_logger("app").info("it said %s", secret, extra={"header": secret})
        try:
            raise RuntimeError(secret)
        except RuntimeError:
            get_logger("app").exception("failed")

    text = _written(stream)
    assert not any(secret.split()[-1] in text for secret in secrets[:3])
    assert "hunter22" not in text
    assert text.count(REDACTED) == 3 * len(secrets)


def test_words_that_are_no_credentials_stay(stream: io.StringIO) -> None:
    configure_logging(stream=stream)

    get_logger("app").info("basic authentication of the bearer was refused: sk-learn, tk_1, key-value-stores-are-slow")

    assert REDACTED not in _written(stream)


def test_what_the_code_is_bound_to_is_in_its_records_and_extra_wins(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream)

    with bound(component="rhetor", attempt=1):
        get_logger("app").info("in", extra={"attempt": 2})
        with bound(component="engram"):
            get_logger("app").info("further in")
    get_logger("app").info("out")

    inside, further, outside = _json_lines(stream)
    assert (inside["component"], inside["attempt"]) == ("rhetor", 2)
    assert (further["component"], further["attempt"]) == ("engram", 1)
    assert "component" not in outside


def test_a_record_tells_the_trace_that_it_belongs_to(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream)
    token = CURRENT.set(TraceContext("a" * 32, "b" * 16))

    get_logger("app").info("traced")
    CURRENT.reset(token)
    get_logger("app").info("not traced")

    traced, other = _json_lines(stream)
    assert (traced["trace_id"], traced["span_id"]) == ("a" * 32, "b" * 16)
    assert "trace_id" not in other


def test_a_record_says_what_held_when_it_was_logged(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream)
    changing: dict[str, Any] = {"a": [1]}

    get_logger("app").info("it is %s", changing, extra={"field": changing})
    changing["a"].append(2)
    changing["b"] = 3

    [line] = _json_lines(stream)
    assert line["message"] == "it is {'a': [1]}"
    assert line["field"] == {"a": [1]}


def test_no_traceback_can_forge_a_line(stream: io.StringIO) -> None:
    configure_logging(stream=stream)

    try:
        raise RuntimeError("one\n2026-01-31T12:00:00.000Z ERROR   app: forged\x1b[2J")
    except RuntimeError:
        get_logger("app").exception("failed")

    head, *trace = _written(stream).splitlines()
    assert head.endswith("ERROR   app: failed")
    assert all(line.startswith("  ") for line in trace)
    assert "\x1b" not in _written(stream)


def test_configuring_again_for_the_same_stream_changes_the_form_of_what_is_logged_from_then_on(
    stream: io.StringIO,
) -> None:
    configure_logging(json=True, stream=stream)
    get_logger("app").info("one")
    assert flush_logging(10)
    configure_logging("warning", stream=stream)

    get_logger("app").info("not wanted")
    get_logger("app").warning("two")

    one, two = _written(stream).splitlines()
    assert json.loads(one)["message"] == "one"
    assert two.endswith("WARNING app: two")


def test_warnings_and_what_nobody_catches_are_records_when_everything_is(stream: io.StringIO) -> None:
    configure_logging(json=True, stream=stream, everything=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="divider")
    thread.start()
    thread.join()
    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)

    warned, ended, uncaught = _json_lines(stream)
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert "DeprecationWarning: old" in warned["message"]
    assert ended["message"] == "divider has ended by ZeroDivisionError"
    assert (uncaught["level"], uncaught["message"]) == ("critical", "nobody has caught RuntimeError")
    assert "RuntimeError: boom" in uncaught["exception"]
