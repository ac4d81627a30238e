"""The registry over HTTP: who may replace whom, every transition, every limit, cycles and missing dependencies."""

import http.client
import json
import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tekton.core.lifecycle import STATES, VALID_TRANSITIONS, ComponentState

ALIVE = ["sleep", "1000"]

PATHS = {
    "registering": (),
    "initializing": ("initializing",),
    "starting": ("initializing", "starting"),
    "ready": ("initializing", "starting", "ready"),
    "degraded": ("initializing", "starting", "degraded"),
    "failed": ("failed",),
    "stopping": ("initializing", "starting", "ready", "stopping"),
    "stopped": ("initializing", "starting", "ready", "stopping", "stopped"),
}
"""How a new component gets into a state. `unknown` is the state of what is not registered."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane for all tests of this file; each uses names of its own."""
    tekton = start_tekton(tmp_path_factory.mktemp("registry"))
    tekton.configure({"base": {"command": ALIVE}, "orphan": {"command": ALIVE, "dependencies": ["ghost", "base"]}})
    try:
        tekton.up()
        tekton.until("base")
        yield tekton
    finally:
        tekton.kill()


@pytest.fixture
def name() -> str:
    return f"r-{uuid.uuid4().hex[:12]}"


def register(system: Any, name: str, **fields: Any) -> tuple[int, Any]:
    return system.request("POST", "/api/components", {"component_id": name, **fields})  # type: ignore[no-any-return]


def new_instance(system: Any, name: str, **fields: Any) -> str:
    status, answer = register(system, name, **fields)
    assert status == 201, answer
    return str(answer["component"]["instance_uuid"])


def move(system: Any, name: str, instance: str, state: str) -> tuple[int, Any]:
    body = {"instance_uuid": instance, "state": state}
    return system.request("PUT", f"/api/components/{name}/state", body)  # type: ignore[no-any-return]


# Instances


def test_the_same_registration_again_is_no_change(system: Any, name: str) -> None:
    fields = {"instance_uuid": str(uuid.uuid4()), "version": "1", "metadata": {"a": [1]}, "capabilities": ["c1"]}
    status, first = register(system, name, **fields)
    again = [register(system, name, **fields) for _ in range(3)]

    assert status == 201
    assert again == [(200, first)] * 3


def test_more_instances_are_allowed_as_far_as_all_of_them_agree(system: Any, name: str) -> None:
    new_instance(system, name, max_instances=2)
    new_instance(system, name, max_instances=5)

    status, problem = register(system, name, max_instances=5)

    assert (status, problem["code"]) == (409, "component_exists")
    assert len(system.get(f"/api/components/{name}/instances")["items"]) == 2


@pytest.mark.parametrize("ended", ["failed", "stopped"])
def test_an_ended_instance_is_replaced_and_has_no_say_any_more(system: Any, name: str, ended: str) -> None:
    old = new_instance(system, name, version="1")
    for state in PATHS[ended]:
        assert move(system, name, old, state)[0] == 200
    status, answer = register(system, name, version="2")
    assert (status, answer["component"]["generation"]) == (201, 2)
    before = system.get(f"/api/components/{name}/instances")

    who = {"instance_uuid": old}
    stale = [
        move(system, name, old, "failed"),
        system.request("POST", f"/api/components/{name}/ready", who),
        system.request("POST", f"/api/components/{name}/heartbeat", who),
        system.request("DELETE", f"/api/components/{name}?instance_uuid={old}"),
    ]

    assert [(status, problem["code"]) for status, problem in stale] == [(409, "stale_instance")] * 4
    assert register(system, name, **who)[1]["code"] == "component_exists"
    assert system.get(f"/api/components/{name}/instances") == before


# Transitions


@pytest.mark.parametrize("current", PATHS)
def test_exactly_the_transitions_of_the_table_are_answered_with_200(system: Any, name: str, current: str) -> None:
    legal = [state.value for state in VALID_TRANSITIONS[ComponentState(current)]]
    for target in [state.value for state in STATES]:
        one = f"{name}-{target}"
        instance = new_instance(system, one)
        for state in PATHS[current]:
            assert move(system, one, instance, state)[0] == 200

        status, answer = move(system, one, instance, target)

        if target in legal:
            assert (status, answer["state"]) == (200, target)
        else:
            assert (status, answer["code"], set(answer["legal"])) == (409, "illegal_transition", set(legal))
            assert system.get(f"/api/components/{one}")["state"] == current


# Limits


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"capabilities": [f"c{n}" for n in range(257)]}, "/capabilities"),
        ({"dependencies": [f"d{n}" for n in range(257)]}, "/dependencies"),
        ({"metadata": {"text": "x" * 65_526}}, "/metadata"),
        ({"component_name": "e\u0301"}, "/component_name"),
        ({"component_name": "a\u202eb"}, "/component_name"),
        ({"component_name": "a\0b"}, "/component_name"),
        ({"version": "1\r\nx: y"}, "/version"),
        ({"capabilities": ["fine", "not\nfine"]}, "/capabilities/1"),
        ({"dependencies": ["../x"]}, "/dependencies/0"),
        ({"dependencies": ["rhetor\u0430"]}, "/dependencies/0"),
        ({"max_instances": 2**63}, "/max_instances"),
        ({"max_instances": 2**64}, "/max_instances"),
        ({"max_instances": -1}, "/max_instances"),
        ({"max_instances": "1"}, "/max_instances"),
        ({"max_instances": 1.0}, "/max_instances"),
        ({"max_instances": 1.5}, "/max_instances"),
        ({"max_instances": True}, "/max_instances"),
        ({"forget_after": -1}, "/forget_after"),
        ({"forget_after": 1e10}, "/forget_after"),
        ({"forget_after": "1h"}, "/forget_after"),
    ],
)
def test_what_is_too_much_or_not_allowed_is_422_and_nothing_is_registered(
    system: Any, name: str, fields: Any, pointer: str
) -> None:
    status, problem = register(system, name, **fields)

    assert (status, problem["pointer"]) == (422, pointer)
    assert system.request("GET", f"/api/components/{name}")[0] == 404


def test_what_is_just_not_too_much_is_registered(system: Any, name: str) -> None:
    names = [f"n{number}" for number in range(256)]
    fields = {"capabilities": names, "dependencies": names, "metadata": {"text": "x" * 65_525}}

    status, answer = register(system, name, **fields)

    assert status == 201
    assert {field: answer["component"][field] for field in fields} == fields
    system.request("DELETE", f"/api/components/{name}?instance_uuid={answer['component']['instance_uuid']}")


def test_a_body_of_ten_mebibytes_is_refused_unread(system: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
    connection.putrequest("POST", "/api/components")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(10 * 2**20))
    connection.endheaders()
    response = connection.getresponse()

    assert (response.status, json.loads(response.read())["code"]) == (413, "too_large")
    connection.close()


@pytest.mark.parametrize("value", ["", "A", "a b", "a" * 129, "a\u200bb", "\U0001f99c", "a.b", "..", "%2e%2e"])
def test_a_name_that_is_no_id_is_422_in_a_body_and_unknown_in_a_path(system: Any, value: str) -> None:
    status, problem = register(system, value)
    assert (status, problem["code"], problem["pointer"]) == (422, "invalid_id", "/component_id")

    if value and value.isascii() and " " not in value:
        # A path with dots is refused before anybody looks for the component.
        assert system.request("GET", f"/api/components/{value}")[0] in (400, 404)


@pytest.mark.parametrize("before", [str(2**63), str(2**64), "-1", "1.5", "one", ""])
def test_a_position_in_the_history_that_cannot_be_is_422(system: Any, before: str) -> None:
    status, problem = system.request("GET", f"/api/components/base/history?before={before}")

    assert (status, problem["parameter"]) == (422, "before")


def test_the_highest_position_in_the_history_is_the_newest(system: Any) -> None:
    newest = system.get("/api/components/base/history?limit=1")

    assert system.get(f"/api/components/base/history?limit=1&before={2**63 - 1}") == newest
    assert system.get("/api/components/base/history?before=0") == {"items": []}


# Dependencies


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_circle_can_be_registered_and_is_reported(system: Any, name: str, size: int) -> None:
    ring = [f"{name}-{number}" for number in range(size)]
    instances = [
        new_instance(system, one, dependencies=[following])
        for one, following in zip(ring, [*ring[1:], ring[0]], strict=True)
    ]

    cycles = system.get("/api/graph")["cycles"]
    (mine,) = [cycle for cycle in cycles if set(cycle) & set(ring)]
    start = mine.index(ring[0])
    assert [*mine[start:], *mine[:start]] == ring
    assert set(system.get(f"/api/components/{ring[0]}/why")["cycle"]) == set(ring)

    for one, instance in zip(ring, instances, strict=True):
        assert system.request("DELETE", f"/api/components/{one}?instance_uuid={instance}")[0] == 200


@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
def test_a_circle_in_a_graph_is_answered_by_its_path(system: Any, size: int) -> None:
    ring = {f"n{number}": [f"n{(number + 1) % size}"] for number in range(size)}

    status, answer = system.request("POST", "/api/dependencies/resolve", {"graph": ring})

    (cycle,) = answer["cycles"]
    assert (status, answer["start_order"], len(cycle)) == (200, [], size)
    assert all(ring[one] == [following] for one, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True))


def test_a_chain_of_ten_thousand_is_ordered(system: Any) -> None:
    chain = {f"n{number}": [f"n{number + 1}"] for number in range(10_000)}

    status, answer = system.request("POST", "/api/dependencies/resolve", {"graph": chain})

    assert (status, answer["cycles"]) == (200, [])
    assert answer["start_order"] == [f"n{number}" for number in range(10_000, -1, -1)]


def test_a_diamond_is_ordered(system: Any) -> None:
    graph = {"top": ["left", "right"], "left": ["bottom"], "right": ["bottom"], "bottom": []}

    status, answer = system.request("POST", "/api/dependencies/resolve", {"graph": graph})

    assert (status, answer["cycles"]) == (200, [])
    assert answer["waves"] == [["bottom"], ["left", "right"], ["top"]]


def test_a_component_registers_before_what_it_depends_on(system: Any, name: str) -> None:
    status, answer = register(system, name, dependencies=["nobody-knows"])

    assert (status, answer["component"]["dependencies"]) == (201, ["nobody-knows"])
    assert system.get(f"/api/components/{name}/why")["failed_dependencies"] == ["nobody-knows"]


def test_a_start_is_refused_with_the_dependencies_that_are_missing(system: Any) -> None:
    status, problem = system.request("POST", "/api/components/orphan/start?wait=1", {})

    assert (status, problem["code"], problem["failed_dependencies"]) == (424, "dependency_failed", ["ghost"])


def test_who_depends_on_what_is_deregistered_goes_on_and_the_graph_shows_it(system: Any, name: str) -> None:
    below, above = f"{name}-below", f"{name}-above"
    instance = new_instance(system, below)
    dependent = new_instance(system, above, dependencies=[below])
    for one, who in ((below, instance), (above, dependent)):
        assert system.request("POST", f"/api/components/{one}/ready", {"instance_uuid": who})[0] == 200
    before = system.get(f"/api/components/{above}/instances")

    assert system.request("DELETE", f"/api/components/{below}?instance_uuid={instance}")[0] == 200

    assert system.get(f"/api/components/{above}/instances") == before
    graph = system.get("/api/graph")
    assert {"id": below, "state": None, "missing": True} in graph["nodes"]
    assert [above, below] in graph["edges"]


# Lists


def read_pages(system: Any, component_type: str) -> list[str]:
    """The ids of a whole list, read in small pages."""
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = system.get(f"/api/components?type={component_type}&limit=4{cursor and f'&cursor={cursor}'}")
        seen += [record["component_id"] for record in page["items"]]
        cursor = page["cursor"]
    return seen


def test_pages_under_writes_have_once_what_was_there_all_the_time(system: Any) -> None:
    mark = f"t-{uuid.uuid4().hex[:8]}"
    staying = [f"{mark}-{number:02}" for number in range(0, 60, 2)]
    for one in staying:
        new_instance(system, one, component_type=mark)
    done = threading.Event()

    def come_and_go(writer: int) -> None:
        rng = random.Random(writer)
        while not done.is_set():
            one = f"{mark}-{rng.randrange(1, 60, 2):02}-{writer}"
            instance = new_instance(system, one, component_type=mark)
            assert system.request("DELETE", f"/api/components/{one}?instance_uuid={instance}")[0] == 200

    writers = [threading.Thread(target=come_and_go, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(10):
            seen = read_pages(system, mark)
            assert seen == sorted(set(seen))
            assert [one for one in seen if one.count("-") == 2] == staying
    finally:
        done.set()
        for writer in writers:
            writer.join()


@pytest.mark.parametrize("cursor", ["x", "%00", "_w", "a" * 2000])
def test_a_cursor_that_is_not_ours_is_410(system: Any, cursor: str) -> None:
    status, answer = system.request("GET", f"/api/components?cursor={cursor}")

    # Some texts decode to a name; there is nothing secret about a place in the alphabet.
    assert (status, answer.get("code", "")) in {(410, "cursor_expired"), (200, "")}


# Connections


def test_a_connection_that_breaks_off_in_a_registration_leaves_nothing(system: Any, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
    body = json.dumps({"component_id": name}).encode()
    connection.putrequest("POST", "/api/components")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(body) + 1))
    connection.endheaders(body)
    with suppress(OSError):
        connection.close()

    assert system.request("GET", f"/api/components/{name}")[0] == 404
