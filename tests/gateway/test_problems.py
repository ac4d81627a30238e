"""Errors as problem documents."""

import json

import pytest

from tekton.gateway import errors as gateway
from tekton.gateway.problems import STATUS, headers_of, status_of, to_problem
from tekton.utils import tekton_errors as tekton
from tekton.utils.http_problems import error_from_answer

EXAMPLES = [
    (tekton.ComponentNotFoundError("rhetr", "rhetor"), 404, {"component_id": "rhetr", "nearest": "rhetor"}),
    (tekton.InvalidIdError("/component_id", "A B", "a-b"), 422, {"pointer": "/component_id", "nearest": "a-b"}),
    (tekton.ComponentExistsError("a", "i"), 409, {"instance_uuid": "i"}),
    (tekton.StaleInstanceError("a", "i"), 409, {"component_id": "a"}),
    (tekton.IllegalTransitionError("a", "ready", "unknown", ["degraded"]), 409, {"legal": ["degraded"]}),
    (tekton.CursorExpiredError("gone"), 410, {}),
    (tekton.StartTimeoutError("a", 60.0), 504, {"timeout": 60.0}),
    (tekton.ComponentError("a", "exit code 1"), 409, {"reason": "exit code 1"}),
    (tekton.DependencyError("a", ["b"]), 424, {"failed_dependencies": ["b"]}),
    (tekton.StorageFullError("no room"), 503, {}),
    (tekton.StorageUnknownError("stopped"), 503, {}),
    (tekton.SpawnError("a", "no such file"), 409, {"name": "a"}),
    (tekton.TransportError("http://x", "refused"), 503, {"url": "http://x"}),
    (tekton.CircuitOpenError("a", "open", 7.5), 503, {"state": "open", "retry_after": 7.5}),
    (tekton.BulkheadFullError("a", 5, 2), 503, {"limit": 5, "waiting": 2}),
    (tekton.CallTimeoutError("a", 1.5), 504, {"timeout": 1.5}),
    (tekton.NoFallbackAvailableError("llm", {"a": "a: gone"}, {"a": OSError()}), 503, {"reasons": {"a": "a: gone"}}),
    (tekton.FallbackCycleError("llm", ["a", "b", "a"]), 422, {"cycle": ["a", "b", "a"]}),
    (tekton.ProblemError(418, "teapot", "short and stout"), 418, {}),
    (tekton.ProblemError(999, "odd", "what the server would end the process over"), 502, {}),
    (tekton.TektonError("what"), 500, {}),
    (gateway.MalformedRequestError("bad", 7), 400, {"offset": 7}),
    (gateway.BodyTooLargeError(10), 413, {"limit": 10}),
    (gateway.InvalidInputError("/a", "wrong", "b"), 422, {"pointer": "/a", "nearest": "b"}),
    (gateway.MethodNotAllowedError("PUT", ["GET"]), 405, {"allowed": ["GET"]}),
]


@pytest.mark.parametrize(("error", "status", "fields"), EXAMPLES)
def test_an_error_is_told_with_its_status_and_its_fields(
    error: tekton.TektonError, status: int, fields: dict[str, object]
) -> None:
    problem = json.loads(to_problem(error, "/api/x"))

    assert status_of(error) == problem["status"] == status
    assert problem["type"] == f"urn:tekton:error:{error.code}"
    assert problem["code"] == error.code
    assert problem["detail"] == str(error)
    assert problem["instance"] == "/api/x"
    assert problem.get("hint") == error.hint
    assert problem["title"]
    assert fields.items() <= problem.items()


def test_every_error_of_the_gateway_has_a_status_of_its_own_table() -> None:
    kinds = [
        kind for kind in vars(gateway).values() if isinstance(kind, type) and issubclass(kind, gateway.GatewayError)
    ]

    for kind in kinds:
        assert any(base in STATUS for base in kind.__mro__[:2]), kind


def test_what_is_not_ours_is_told_without_its_text() -> None:
    error = ValueError("password is hunter2")

    assert status_of(error) == 500
    problem = to_problem(error, "/")
    assert json.loads(problem)["code"] == "internal"
    assert b"hunter2" not in problem


def test_a_status_that_asks_for_a_header_has_it() -> None:
    assert ("retry-after", "10") in headers_of(tekton.StorageFullError("x"))
    assert ("retry-after", "8") in headers_of(tekton.CircuitOpenError("a", "open", 7.1))
    assert ("retry-after", "1") in headers_of(tekton.CircuitOpenError("a", "open", 0.0))
    assert "retry-after" not in dict(headers_of(tekton.CircuitOpenError("a", "forced_open")))
    assert ("www-authenticate", "Bearer") in headers_of(gateway.CredentialRequiredError("x"))
    assert ("allow", "GET, HEAD") in headers_of(gateway.MethodNotAllowedError("PUT", ["GET", "HEAD"]))
    assert headers_of(tekton.TektonError("x"))[0] == ("content-type", "application/problem+json")


@pytest.mark.parametrize(
    "error", [error for error, _, _ in EXAMPLES if type(error).__module__.startswith("tekton.utils.tekton_errors")]
)
def test_a_client_gets_the_same_error_back(error: tekton.TektonError) -> None:
    back = error_from_answer(status_of(error), to_problem(error, "/"))

    assert type(back) in (type(error), tekton.ProblemError)
    assert (back.code, str(back), back.hint) == (error.code, str(error), error.hint)
