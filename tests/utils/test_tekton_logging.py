import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tekton.utils.redaction import REDACTED
from tekton.utils.tekton_logging import JSONFormatter, TextFormatter, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def _json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


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

    time, _, rest = stream.getvalue().partition(" ")
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

    text = _json_lines(stream)[0]["exception"] if as_json else stream.getvalue()
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

    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_in_fields_are_not_written(stream: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, stream=stream)

    get_logger("app").info(
        "x", extra={"api_token": "canary", "env": {"PASSWORD": "canary"}, "url": "http://a:canary@b"}
    )

    assert "canary" not in stream.getvalue()
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

    lines = stream.getvalue().splitlines()
    assert len(lines) == len(values)
    if as_json:
        assert all("value" in json.loads(line) for line in lines)


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()

    get_logger("app").info("hello")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("INFO    app: hello\n")
