"""The HTTP interface of a running control plane: what it answers, and how it refuses."""

import http.client
import json
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.core.lifecycle import STATES, ComponentState

NAME = "billing"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane for all tests of this file; each registers components of its own."""
    tekton = start_tekton(tmp_path_factory.mktemp("api"))
    tekton.configure({"worker": {"command": ["sh", "-c", "echo up; exec sleep 1000"], "ready": {"log": "up"}}})
    try:
        tekton.up()
        tekton.until("worker")
        yield tekton
    finally:
        tekton.kill()


@pytest.fixture
def name() -> str:
    return f"c-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def instance(system: Any, name: str) -> str:
    """A registered component's instance."""
    status, answer = system.request("POST", "/api/components", {"component_id": name, "capabilities": ["cap-a"]})
    assert status == 201
    return str(answer["component"]["instance_uuid"])


def raw(system: Any, method: str, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    """A request over TCP, with exactly this body."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
    try:
        connection.request(method, path, body, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


# The life of a component that registers itself


def test_register_ready_beat_and_leave(system: Any, name: str) -> None:
    status, answer = system.request("POST", "/api/components", {"component_id": name, "endpoint": "http://x:1"})
    assert (status, answer["component"]["state"], answer["lease"]) == (
        201,
        "registering",
        {"timeout": 30.0, "interval": 10.0},
    )
    who = {"instance_uuid": answer["component"]["instance_uuid"]}

    assert system.request("POST", f"/api/components/{name}/ready", who)[1]["state"] == "ready"
    status, reply = system.request("POST", f"/api/components/{name}/heartbeat", {**who, "metrics": {"queue": 3}})
    assert (status, reply) == (200, {"known": True, "state": "ready", "next_interval": 10.0})

    status, gone = system.request("DELETE", f"/api/components/{name}?instance_uuid={who['instance_uuid']}")
    assert (status, gone["component_id"]) == (200, name)
    assert system.request("GET", f"/api/components/{name}")[0] == 404
    kinds = [entry["kind"] for entry in system.get(f"/api/components/{name}/history")["items"]]
    assert kinds == ["deregistered", "state", "state", "state", "registered"]


def test_a_component_that_takes_no_requests_is_not_found_by_its_capability(system: Any, name: str) -> None:
    _, answer = system.request("POST", "/api/components", {"component_id": name, "capabilities": [f"of-{name}"]})
    who = {"instance_uuid": answer["component"]["instance_uuid"]}
    system.request("POST", f"/api/components/{name}/ready", who)

    status, reply = system.request("POST", f"/api/components/{name}/heartbeat", {**who, "serving": False})

    assert (status, reply["state"]) == (200, "ready")
    assert system.get(f"/api/capabilities/of-{name}/components")["items"] == []
    assert system.get(f"/api/components?capability=of-{name}")["items"] == []
    seen = system.get(f"/api/components/{name}")
    assert (seen["state"], seen["serving"]) == ("ready", False)
    system.request("POST", f"/api/components/{name}/heartbeat", {**who, "serving": True})
    assert [one["component_id"] for one in system.get(f"/api/capabilities/of-{name}/components")["items"]] == [name]


def test_registering_the_same_instance_again_is_200(system: Any, name: str, instance: str) -> None:
    body = {"component_id": name, "instance_uuid": instance, "capabilities": ["cap-a"]}

    status, answer = system.request("POST", "/api/components", body)

    assert (status, answer["component"]["generation"]) == (200, 1)


def test_another_live_instance_is_409_with_the_owner(system: Any, name: str, instance: str) -> None:
    status, problem = system.request("POST", "/api/components", {"component_id": name})

    assert (status, problem["code"], problem["instance_uuid"]) == (409, "component_exists", instance)


def test_an_illegal_transition_is_409_with_the_legal_next_states(system: Any, name: str, instance: str) -> None:
    status, problem = system.request(
        "PUT", f"/api/components/{name}/state", {"instance_uuid": instance, "state": "ready"}
    )

    assert (status, problem["code"]) == (409, "illegal_transition")
    assert (problem["current"], problem["requested"]) == ("registering", "ready")
    assert set(problem["legal"]) == {"initializing", "failed"}


def test_a_stale_instance_is_409_and_harmless(system: Any, name: str, instance: str) -> None:
    stale = {"instance_uuid": str(uuid.uuid4())}

    for method, path, body in (
        ("PUT", "state", {**stale, "state": "failed"}),
        ("POST", "ready", stale),
        ("POST", "heartbeat", stale),
    ):
        status, problem = system.request(method, f"/api/components/{name}/{path}", body)
        assert (status, problem["code"]) == (409, "stale_instance")
    status, _ = system.request("DELETE", f"/api/components/{name}?instance_uuid={stale['instance_uuid']}")
    assert status == 409
    assert system.get(f"/api/components/{name}")["state"] == "registering"


def test_a_heartbeat_of_an_unknown_component_asks_to_register_again(system: Any, name: str) -> None:
    _, reply = system.request("POST", f"/api/components/{name}/heartbeat", {"instance_uuid": str(uuid.uuid4())})

    assert (reply["known"], reply["state"]) == (False, None)


def test_a_batch_of_heartbeats_is_answered_one_by_one(system: Any, name: str, instance: str) -> None:
    beats = [
        {"component_id": name, "instance_uuid": instance},
        {"component_id": name, "instance_uuid": str(uuid.uuid4())},
        {"component_id": "nobody", "instance_uuid": str(uuid.uuid4())},
    ]

    _, answer = system.request("POST", "/api/heartbeats", {"heartbeats": beats})

    assert [reply["known"] for reply in answer["replies"]] == [True, False, False]


# Bad input


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"{", 1),
        (b'{"component_id": }', 17),
        (b'{"component_id": "x",}', 21),
        (b"\xff", 0),
        (b"", 0),
        (b"[" * 2000, None),
    ],
)
def test_malformed_json_is_400_with_the_byte_offset(system: Any, body: bytes, offset: int | None) -> None:
    status, problem = raw(system, "POST", "/api/components", body)

    assert (status, problem["code"]) == (400, "malformed")
    if offset is not None:
        assert problem["offset"] == offset


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"component_id": 7}, "/component_id"),
        ({"component_id": "x", "capabilities": ["a", 2]}, "/capabilities/1"),
        ({"component_id": "x", "max_instances": "1"}, "/max_instances"),
        ({"component_id": "x", "capabilitis": []}, "/capabilitis"),
        ({"component_id": "x", "state": "ready"}, "/state"),
        ({"component_id": "x", "supervised": True}, "/supervised"),
        ({"component_id": "x", "max_instances": 2**64}, "/max_instances"),
        ({}, "/component_id"),
        ([], ""),
    ],
)
def test_wrong_types_and_unknown_fields_are_422_with_a_pointer(system: Any, body: Any, pointer: str) -> None:
    status, problem = system.request("POST", "/api/components", body)

    assert (status, problem["pointer"]) == (422, pointer), problem


def test_an_invalid_id_is_422_with_the_nearest_valid_one(system: Any) -> None:
    status, problem = system.request("POST", "/api/components", {"component_id": "My Service"})

    assert (status, problem["code"], problem["nearest"]) == (422, "invalid_id", "my-service")
    assert problem["pointer"] == "/component_id"


def test_a_misspelt_component_is_404_with_the_nearest_one(system: Any) -> None:
    status, problem = system.request("GET", "/api/components/workre")

    assert (status, problem["code"], problem["nearest"]) == (404, "component_not_found", "worker")


def test_unknown_query_parameters_are_refused(system: Any) -> None:
    status, problem = system.request("GET", "/api/components?stat=ready")

    assert (status, problem["code"]) == (422, "invalid_parameter")


def test_a_problem_says_what_it_is(system: Any) -> None:
    status, problem = system.request("GET", "/api/components/nobody")

    assert status == problem["status"] == 404
    assert problem["type"] == "urn:tekton:error:component_not_found"
    assert problem["instance"] == "/api/components/nobody"
    assert problem["title"]
    assert "nobody" in problem["detail"]


# Who may do what


def test_anonymous_callers_may_not_control(system: Any) -> None:
    for path in ("/api/components/worker/stop", "/api/components/worker/restart", "/api/system/stop"):
        status, problem = raw(system, "POST", path, b"")
        assert (status, problem["code"]) == (401, "unauthenticated")
    assert system.state("worker") == "ready"


def test_anonymous_callers_may_not_speak_for_a_component_that_tekton_runs(system: Any) -> None:
    instance = system.component("worker")["instance_uuid"]
    who = {"instance_uuid": instance}
    beat = {"component_id": "worker", **who, "state": "failed"}
    attempts: list[tuple[str, str, Any]] = [
        ("PUT", "/api/components/worker/state", {**who, "state": "failed"}),
        ("POST", "/api/components/worker/ready", who),
        ("POST", "/api/components/worker/heartbeat", {**who, "state": "failed"}),
        ("POST", "/api/components/worker/heartbeat", {**who, "serving": False}),
        ("POST", "/api/heartbeats", {"heartbeats": [{"component_id": "worker", **who, "serving": False}]}),
        ("POST", "/api/heartbeats", {"heartbeats": [beat]}),
        ("POST", "/api/components/worker/heartbeat", who),
        ("POST", "/api/heartbeats", {"heartbeats": [{"component_id": "worker", **who}]}),
        ("POST", "/api/components", {"component_id": "worker", **who, "endpoint": "http://elsewhere"}),
        ("DELETE", f"/api/components/worker?instance_uuid={instance}", None),
    ]

    for method, path, body in attempts:
        status, problem = raw(system, method, path, b"" if body is None else json.dumps(body).encode())
        assert (status, problem["code"]) == (401, "unauthenticated"), (method, path)

    worker = system.component("worker")
    assert (worker["state"], worker["instance_uuid"], worker["endpoint"]) == ("ready", instance, None)


def test_logs_are_the_owners_and_so_is_what_an_explanation_shows_of_them(system: Any) -> None:
    assert system.get("/api/components/worker/why")["evidence"] != []

    status, explained = raw(system, "GET", "/api/components/worker/why", b"")

    assert status == 200
    assert (explained["state"], explained["evidence"]) == ("ready", [])


def test_a_component_that_tekton_does_not_run_is_neither_started_nor_stopped(
    system: Any, name: str, instance: str
) -> None:
    for verb in ("start", "stop", "restart"):
        status, problem = system.request("POST", f"/api/components/{name}/{verb}?wait=1")
        assert status == 409
        assert "does not run" in problem["detail"]

    assert system.get(f"/api/components/{name}")["state"] == "registering"


def test_the_credential_of_the_run_directory_opens_the_port(system: Any) -> None:
    credential = (system.data_dir / "run" / "credential").read_text()

    status, _ = raw(system, "POST", "/api/components/worker/restart?wait=1", b"", authorization=f"Bearer {credential}")

    assert status == 200
    assert (system.data_dir / "run" / "credential").stat().st_mode & 0o077 == 0
    assert (system.data_dir / "run").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}])
def test_a_page_of_another_site_cannot_act(system: Any, headers: dict[str, str]) -> None:
    status, _ = raw(system, "POST", "/api/components", b'{"component_id": "from-a-page"}', **headers)

    assert status in (403, 421)
    assert system.request("GET", "/api/components/from-a-page")[0] == 404


# Reading


def test_lists_are_filtered_and_paged(system: Any) -> None:
    names = [f"page-{number:02}" for number in range(7)]
    for one in names:
        system.request("POST", "/api/components", {"component_id": one, "component_type": "paged"})

    seen: list[str] = []
    cursor = ""
    while True:
        page = system.get(f"/api/components?type=paged&state=registering&limit=3{cursor}")
        seen += [item["component_id"] for item in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"

    assert seen == names


def test_capabilities_lead_to_usable_components(system: Any, name: str, instance: str) -> None:
    assert name in system.get("/api/capabilities")["capabilities"]["cap-a"]
    usable = [item["component_id"] for item in system.get("/api/capabilities/cap-a/components")["items"]]
    assert name not in usable

    system.request("POST", f"/api/components/{name}/ready", {"instance_uuid": instance})

    usable = [item["component_id"] for item in system.get("/api/capabilities/cap-a/components")["items"]]
    assert name in usable


def test_a_graph_is_resolved_for_anybody(system: Any) -> None:
    graph = {"gateway": ["memory", "models"], "models": ["memory"], "a": ["b"], "b": ["a"]}

    _, answer = system.request("POST", "/api/dependencies/resolve", {"graph": graph})

    assert answer == {
        "start_order": ["memory", "models", "gateway"],
        "cycles": [["a", "b"]],
        "waves": [["memory"], ["models"], ["gateway"]],
    }


def test_the_openapi_document_lists_every_route_and_its_problems(system: Any) -> None:
    document = system.get("/openapi.json")

    assert document["openapi"].startswith("3.1")
    references = set(re.findall(r'"\$ref": *"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    assert "$defs" not in json.dumps(document)
    register = document["paths"]["/api/components"]["post"]
    assert {"201", "409", "422"} <= set(register["responses"])
    assert document["components"]["schemas"]["ComponentRecord"]["properties"]["serving"] == {
        "type": "boolean",
        "default": True,
    }
    states = document["components"]["schemas"]["ComponentState"]["enum"]
    assert set(states) == {state.value for state in ComponentState}
    assert len(STATES) == 9


def test_why_and_logs_and_version_answer(system: Any) -> None:
    why = system.get("/api/components/worker/why")
    assert (why["state"], why["waiting_for"]) == ("ready", [])
    assert system.get("/api/components/worker/logs")["path"].endswith("worker.log")
    assert system.get("/api/version")["pid"] == system.control_pid
    assert system.get("/api/health") == {"status": "ok"}


# Watching


def curl(system: Any, path: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["curl", "-sN", *arguments, f"http://127.0.0.1:{system.port}{path}"], stdout=subprocess.PIPE, text=True
    )


def events(stream: "subprocess.Popen[str]", count: int) -> list[dict[str, str]]:
    """The first *count* events of a stream."""
    found: list[dict[str, str]] = []
    current: dict[str, str] = {}
    assert stream.stdout is not None
    while len(found) < count:
        line = stream.stdout.readline()
        assert line, "the stream ended"
        if line.strip():
            field, _, value = line.rstrip("\n").partition(": ")
            current[field] = value
        elif "data" in current:
            found.append(current)
            current = {}
        else:
            current = {}
    return found


def change_of(stream: "subprocess.Popen[str]", *names: str) -> dict[str, str]:
    """The first change of one of these components in a stream: leases of other tests may run out meanwhile."""
    while True:
        (event,) = events(stream, 1)
        if event["event"] != "change" or json.loads(event["data"])["component_id"] in names:
            return event


def test_a_stream_begins_with_a_snapshot_and_resumes_without_a_gap(system: Any, name: str) -> None:
    with curl(system, "/events/components") as stream:
        snapshot, *_ = events(stream, 1)
        assert snapshot["event"] == "snapshot"
        system.request("POST", "/api/components", {"component_id": name})
        registered = change_of(stream, name)
        stream.kill()
    assert json.loads(registered["data"])["component_id"] == name

    other = f"{name}-2"
    system.request("POST", "/api/components", {"component_id": other})
    with curl(system, "/events/components", "-H", f"Last-Event-ID: {registered['id']}") as stream:
        missed = change_of(stream, name, other)
        stream.kill()

    assert (missed["event"], json.loads(missed["data"])["component_id"]) == ("change", other)


def test_an_unknown_position_is_answered_by_reset_and_snapshot(system: Any) -> None:
    for position in ("999999999999", "-1", "x"):
        with curl(system, "/events/components", "-H", f"Last-Event-ID: {position}") as stream:
            reset, snapshot = events(stream, 2)
            stream.kill()
        assert (reset["event"], snapshot["event"]) == ("reset", "snapshot")


def test_sigterm_drains_with_last_events_and_exit_code_zero(tmp_path: Path, start_tekton: Any) -> None:
    tekton = start_tekton(tmp_path)
    tekton.configure({"worker": {"command": ["sleep", "1000"]}})
    tekton.up()
    tekton.until("worker")
    with curl(tekton, "/events/components") as stream:
        events(stream, 1)

        tekton.process.send_signal(signal.SIGTERM)

        rest = stream.communicate(timeout=20)[0]
    assert '"stopped"' in rest
    assert rest.rstrip().rpartition("event: ")[2].startswith("bye")
    tekton.process.communicate(timeout=20)
    assert tekton.process.returncode == 0
    assert tekton.processes() == []


def test_the_record_types_of_the_api_decode_what_it_sends(system: Any) -> None:
    from tekton.service.views import ComponentView

    for item in system.get("/api/system")["components"]:
        assert msgspec.convert(item, ComponentView).component_id == item["component_id"]
