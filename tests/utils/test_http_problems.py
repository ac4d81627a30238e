import json

import pytest

from tekton.utils import tekton_errors
from tekton.utils.http_problems import error_from_answer
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentExistsError,
    ComponentNotFoundError,
    ConfigurationError,
    CursorExpiredError,
    DependencyError,
    IllegalTransitionError,
    InvalidIdError,
    Mistake,
    PortInUseError,
    ProblemError,
    SchemaVersionError,
    SpawnError,
    StaleInstanceError,
    StartTimeoutError,
    StorageFullError,
    StorageLockedError,
    TektonError,
    TransportError,
)

_ERRORS = [
    ComponentNotFoundError("hermse", "hermes"),
    ComponentExistsError("hermes", "6f9619ff"),
    StaleInstanceError("hermes", "6f9619ff"),
    IllegalTransitionError("hermes", "stopped", "ready", ["initializing"]),
    InvalidIdError("/component_id", "Hermes", "hermes"),
    DependencyError("ergon", ["rhetor"], cycle=["ergon", "rhetor", "ergon"]),
    ComponentError("hermes", "exit 1"),
    StartTimeoutError("hermes", 60.0, "GET /api/ready"),
    CursorExpiredError("the cursor is not known"),
    StorageFullError("no space left"),
    StorageLockedError("/data", 42),
    SchemaVersionError("/data/tekton.db", 3, 2),
    SpawnError("hermes", "no such program"),
    PortInUseError(8010),
    TransportError("http://hermes", "connection refused"),
    ConfigurationError([Mistake("tekton.json", 1, 2, "/x", "unknown key 'x'", None)]),
]


def _body(error: TektonError, **members: object) -> bytes:
    """The problem document of an error, as a server writes it: its fields beside the standard members."""
    fields = {name: value for name, value in vars(error).items() if name != "hint"}
    document = {
        "status": 400,
        "title": "x",
        "detail": str(error),
        "code": error.code,
        "hint": error.hint,
        **fields,
        **members,
    }
    return json.dumps(
        document, default=lambda mistake: {name: getattr(mistake, name) for name in mistake.__slots__}
    ).encode()


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_its_problem_document(error: TektonError) -> None:
    rebuilt = error_from_answer(400, _body(error))

    assert type(rebuilt) is type(error)
    assert str(rebuilt) == str(error)
    assert rebuilt.hint == error.hint
    assert {name: getattr(rebuilt, name) for name in vars(error)} == vars(error)


def test_every_class_with_a_code_of_its_own_is_known() -> None:
    classes = [
        value for value in vars(tekton_errors).values() if isinstance(value, type) and issubclass(value, TektonError)
    ]
    codes = [kind.code for kind in classes if "code" in vars(kind)]

    assert len(codes) == len(set(codes))


def test_a_code_of_no_class_gives_a_problem_error_with_its_fields() -> None:
    body = json.dumps({"code": "not_permitted", "detail": "role missing", "hint": "log in"}).encode()

    error = error_from_answer(403, body)

    assert isinstance(error, ProblemError)
    assert (error.status, error.code, error.detail, error.hint) == (403, "not_permitted", "role missing", "log in")
    assert str(error) == "role missing"


@pytest.mark.parametrize(
    "members",
    [{"component_id": 5}, {"component_id": None}, {"nearest": []}],
)
def test_fields_of_another_type_give_a_problem_error(members: dict[str, object]) -> None:
    error = error_from_answer(404, _body(ComponentNotFoundError("a"), **members))

    assert isinstance(error, ProblemError)
    assert error.code == "component_not_found"


def test_a_missing_field_gives_a_problem_error() -> None:
    error = error_from_answer(409, b'{"code": "illegal_transition", "detail": "no"}')

    assert isinstance(error, ProblemError)
    assert str(error) == "no"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "HTTP status 502"),
        (b"<html>\n <b>Bad\x00 gateway</b>", "HTTP status 502: <html> <b>Bad gateway</b>"),
        (b"x" * 1000, "HTTP status 502: " + "x" * 200),
        (b"\xff\xfe", "HTTP status 502: \ufffd\ufffd"),
        (b"[1]", "HTTP status 502: [1]"),
        (b"{}", "HTTP status 502: {}"),
        (b'{"error": "no such memory"}', 'HTTP status 502: {"error": "no such memory"}'),
        (b'{"detail": 5, "title": "Bad"}', "Bad"),
        (b"[" * 100_000, "HTTP status 502: " + "[" * 200),
    ],
)
def test_whatever_the_body_holds_there_is_an_error_with_a_text(body: bytes, text: str) -> None:
    error = error_from_answer(502, body)

    assert isinstance(error, ProblemError)
    assert (error.status, error.code, str(error)) == (502, "http_error", text)


def test_an_error_without_a_class_keeps_where_it_points_to() -> None:
    told = error_from_answer(422, json.dumps({"code": "invalid", "detail": "no", "pointer": "/a"}).encode())
    silent = error_from_answer(422, json.dumps({"code": "invalid", "detail": "no", "pointer": 1}).encode())

    assert isinstance(told, ProblemError)
    assert told.pointer == "/a"
    assert not hasattr(silent, "pointer")
