"""The binding JSON-RPC: every body gets an answer of JSON-RPC."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from a2a_site import Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.gateway.request import Response
from tekton.gateway.sse import EventStream
from tekton.service.edge.a2a.operations import STREAMING, UNARY

NESTED = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":' + b"[" * 100 + b"]" * 100 + b"}}"


def call(method: str = "GetTask", params: Any = None, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {} if params is None else params} | members


WRONG: list[tuple[Any, int, int | None]] = [
    (b"", -32700, None),
    (b"{", -32700, None),
    (b"\xff", -32700, None),
    (NESTED, -32700, None),
    ([], -32600, None),
    ([call()], -32600, None),
    ("text", -32600, None),
    (call(jsonrpc="1.0"), -32600, 1),
    ({"id": 1, "method": "GetTask"}, -32600, 1),
    (call(id=True), -32600, None),
    (call(id=1.5), -32600, None),
    (call(id={}), -32600, None),
    (call(method=5), -32600, 1),
    (call(method=""), -32600, 1),
    (call(method="message/send"), -32601, 1),
    (call(method="getTask"), -32601, 1),
    (call(params=[]), -32602, 1),
    (call(params={"id": 5}), -32602, 1),
    (call(params={"id": "x", "historyLength": -1}), -32602, 1),
    (call("SendMessage"), -32602, 1),
    (call("SendStreamingMessage"), -32602, 1),
    (call("ListTasks", {"pageSize": 0}), -32602, 1),
    (call("ListTasks", {"pageToken": "x"}), -32602, 1),
    (call("ListTasks", {"pageToken": "😀"}), -32602, 1),
    (call("ListTasks", {"status": "BUSY"}), -32602, 1),
    (call(), -32001, 1),
    (call(params={"id": "nothing"}), -32001, 1),
    (call("SubscribeToTask", {"id": "\x00"}), -32001, 1),
    (call("CancelTask", {"id": "x" * 100_000}), -32001, 1),
    (call("GetTaskPushNotificationConfig", {"taskId": "x", "id": "y"}), -32001, 1),
]


async def test_what_is_wrong_is_an_error_in_the_body(site: Site) -> None:
    for body, code, request_id in WRONG:
        status, answer = await site.post("/a2a", body)

        assert (status, answer["error"]["code"], answer["id"]) == (200, code, request_id), str(body)[:200]
        assert answer["jsonrpc"] == "2.0"
        assert answer["error"]["message"]
        assert answer["error"]["data"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


async def test_a_slash_behind_the_path_makes_no_difference(site: Site) -> None:
    for path in ("/a2a", "/a2a/", "/a2a/agents/echo-agent", "/a2a/agents/echo-agent/"):
        answer = await site.ask("SendMessage", site.message("hi", metadata={"skill": "echo"}), path=path)
        assert answer["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("version", ["1.0", "1.0.1", "1", " 1.0 "])
async def test_the_patch_of_a_version_does_not_count(site: Site, version: str) -> None:
    status, answer = await site.post("/a2a", call("ListTasks"), a2a_version=version)

    assert status == 200
    assert answer["result"]["tasks"] == []


@pytest.mark.parametrize("version", ["", "0.3", "1.1", "2.0", "x"])
async def test_another_version_is_refused(site: Site, version: str) -> None:
    _, answer = await site.post("/a2a", call("ListTasks"), a2a_version=version)

    assert (answer["error"]["code"], answer["id"]) == (-32009, 1)
    assert answer["error"]["data"][0]["metadata"] == {"supported": "1.0"}


async def test_the_version_may_stand_in_the_query(site: Site) -> None:
    _, answer = await site.post("/a2a?A2A-Version=1.0&x=y", call("ListTasks"), a2a_version="")

    assert answer["result"]["tasks"] == []


async def test_a_request_without_an_id_is_answered(site: Site) -> None:
    _, answer = await site.post("/a2a", {"jsonrpc": "2.0", "method": "ListTasks"})

    assert answer["id"] is None
    assert answer["result"]["nextPageToken"] == ""


async def test_what_the_port_refuses_is_told_in_the_same_form(site: Site) -> None:
    nobody = await site.post("/a2a", call(), None)
    wrong = await site.post("/a2a", call(), None, authorization="Bearer nonsense")
    watcher = await site.post("/a2a", call(), "wanda")
    form = await site.post("/a2a", b"a=b", content_type="application/x-www-form-urlencoded")
    foreign = await site.post("/a2a", call(), origin="https://evil.example")
    large = await site.post("/a2a", b" " * (1024 * 1024 + 1), expect="100-continue")
    strange = await site.post("/a2a/agents/nobody", call())
    get = await site.send("GET", "/a2a")

    told = [(status, answer["error"]["code"], answer["error"]["data"][0]["reason"]) for status, answer in (
        nobody, wrong, watcher, form, foreign, large, strange, get,
    )]  # fmt: skip
    assert told == [
        (401, -32000, "UNAUTHENTICATED"),
        (401, -32000, "UNAUTHENTICATED"),
        (403, -32000, "FORBIDDEN"),
        (415, -32005, "UNSUPPORTED_MEDIA_TYPE"),
        (403, -32000, "FOREIGN_ORIGIN"),
        (413, -32600, "TOO_LARGE"),
        (404, -32601, "METHOD_NOT_FOUND"),
        (405, -32000, "METHOD_NOT_ALLOWED"),
    ]


async def test_who_is_refused_is_told_what_to_show(site: Site) -> None:
    async with site.session.post(f"{site.url}/a2a", json=call()) as answer:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_defect_of_ours_is_an_internal_error_without_its_text(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(UNARY, "GetTask", (UNARY["GetTask"][0], broken))  # type: ignore[arg-type]
    status, answer = await site.post("/a2a", call())

    assert (status, answer["error"]["code"]) == (200, -32603)
    assert "secret" not in json.dumps(answer)
    assert "secret" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "message", "messageId", "message_id", "contextId", "taskId", "role", "parts", "text", "data", "raw", "url",
        "metadata", "skill", "configuration", "historyLength", "taskPushNotificationConfig", "id", "pageSize",
        "pageToken", "status", "acceptedOutputModes", "returnImmediately", "authentication", "scheme", "task_type",
    ]
)  # fmt: skip
PARAMS = st.recursive(
    JSON | st.sampled_from(["ROLE_USER", "echo", "http://127.0.0.1/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
METHODS = st.sampled_from([*UNARY, *STREAMING]) | st.text(max_size=5)
CALLS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON, "method": METHODS | JSON},
    optional={"id": JSON, "params": PARAMS, "x": JSON},
)


class Headers(dict[str, str]):
    """Headers of a request."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


async def test_no_json_at_all_gives_anything_but_an_answer_of_json_rpc(site: Site) -> None:
    endpoint = site.plane.a2a._rpc
    caller = site.plane.security.identify(site.tokens["ada"])
    headers = Headers({"content-type": "application/json", "a2a-version": "1.0"})
    bodies: list[bytes] = []

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    @given(st.lists(CALLS | PARAMS, min_size=1, max_size=5))
    def collect(values: list[Any]) -> None:
        bodies.extend(json.dumps(value).encode() for value in values)

    collect()
    for body in bodies:
        request: Any = SimpleNamespace(
            headers=headers, body=body, params={}, query_string="", principal=caller, origin="http://h", path="/a2a"
        )
        answer = await endpoint.answer(request)
        if isinstance(answer, EventStream):
            assert all([b'"jsonrpc":"2.0"' in chunk async for chunk in answer.source])
            continue
        assert isinstance(answer, Response), body
        told = json.loads(answer.body)
        assert answer.status == 200
        assert told["jsonrpc"] == "2.0"
        assert ("result" in told) != ("error" in told)
        if "error" in told:
            assert told["error"]["code"] in (-32700, -32600, -32601, -32602, -32001, -32004, -32005, -32000), body
