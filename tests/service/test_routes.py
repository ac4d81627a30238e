"""The route table of the control plane, as a whole: built once, with the doubles that building it asks for."""

import inspect
import json
import re
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tekton.auth.roles import PERMISSIONS, SCOPED
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.gateway.app import Gateway
from tekton.gateway.auth import AUTHENTICATED, PUBLIC
from tekton.gateway.connection import Connection
from tekton.gateway.problems import STATUS
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.gateway.sockets import SOCKET
from tekton.gateway.sse import EventStream
from tekton.service.api import all_routes
from tekton.service.system import System

NAMED_IN_THE_BODY = {
    ("POST", "/api/components"), ("POST", "/api/heartbeats"), ("GET", "/api/logs"), ("POST", "/v1/traces"),
    ("POST", "/api/tasks/{task_id}/reports"),
}  # fmt: skip
"""Routes about components that their path does not name: their handlers check for whom the caller speaks."""

OPEN_TO_EVERYBODY = {
    "/api/health",
    "/api/ready",
    "/api/version",
    "/api/auth/whoami",
    "/api/auth/can-i",
    "/.well-known/jwks.json",
}


def table() -> list[Route]:
    """All routes. Their handlers are not called, so that what they would ask of the system need not be there."""
    registry = ComponentRegistry()
    return all_routes(cast(System, SimpleNamespace(registry=registry, monitor=HeartbeatMonitor(registry))))


ROUTES = table()
DESCRIPTION = next(route for route in ROUTES if route.path == "/openapi.json")

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


async def document() -> Any:
    """The OpenAPI document, as it is served."""
    response = await DESCRIPTION.handler(cast(Request, None))
    assert isinstance(response, Response)
    return json.loads(response.body)


async def operation(route: Route) -> Any:
    """What the document says about a route."""
    return (await document())["paths"][route.path][route.method.lower()]


def test_the_gateway_takes_the_table_beside_its_own_socket() -> None:
    async def socket(connection: Connection) -> None: ...

    gateway = Gateway(ROUTES, websocket=socket)

    for route in [*ROUTES, SOCKET]:
        found, _ = gateway.router.match(route.method, route.path.replace("{", "").replace("}", ""))
        assert found is route


def test_few_routes_take_large_bodies() -> None:
    """Nothing else is served while one is decoded: of 8 MiB that would be for seconds."""
    large = {route.path: route.max_body for route in ROUTES if route.max_body > 256 * 1024}

    assert large == {
        "/api/dependencies/resolve": 1024 * 1024,
        "/api/heartbeats": 4 * 1024 * 1024,
        "/api/components/{component_id}/spec": 4 * 1024 * 1024,
        "/v1/traces": 4 * 1024 * 1024,  # in a thread
        "/api/tools/{tool_id}": 1024 * 1024,
        "/api/messages": 1024 * 1024,
        "/api/requests": 1024 * 1024,
        "/api/tasks": 1088 * 1024,
        "/api/tasks/{task_id}/answer": 1088 * 1024,
        "/api/tasks/{task_id}/reports": 1088 * 1024,
        "/api/conversations": 320 * 1024,
        "/api/conversations/{conversation_id}/messages": 1088 * 1024,
    }


@each_route
def test_a_route_asks_for_a_permission_that_the_policy_knows(route: Route) -> None:
    assert route.permission in {PUBLIC, AUTHENTICATED, *PERMISSIONS}


@each_route
def test_a_permission_about_one_component_is_asked_for_where_the_path_names_it(route: Route) -> None:
    if route.permission in SCOPED and (route.method, route.path) not in NAMED_IN_THE_BODY:
        assert route.parameters == ["component_id"]


def test_what_is_open_to_everybody_is_written_down() -> None:
    assert {route.path for route in ROUTES if route.permission == PUBLIC} == OPEN_TO_EVERYBODY


@each_route
def test_what_changes_something_is_not_open_to_everybody(route: Route) -> None:
    if route.method != "GET":
        assert route.permission != PUBLIC


@each_route
def test_a_route_is_an_async_function_with_a_summary(route: Route) -> None:
    assert inspect.iscoroutinefunction(route.handler)
    assert route.summary
    assert not route.summary.endswith(".")


@each_route
def test_bodies_and_queries_refuse_what_they_do_not_know(route: Route) -> None:
    for kind in (route.body, route.query):
        # What a tool takes is known to its component alone, which refuses the rest.
        if kind not in (None, dict):
            assert issubclass(kind, msgspec.Struct)
            assert kind.__struct_config__.forbid_unknown_fields


@each_route
def test_a_route_has_a_body_only_where_the_method_has_one(route: Route) -> None:
    if route.method in ("GET", "DELETE"):
        assert route.body is None


@each_route
def test_a_route_tells_what_it_answers(route: Route) -> None:
    assert route is DESCRIPTION or route.response in (EventStream, bytes) or issubclass(route.response, msgspec.Struct)


@each_route
def test_the_paths_are_below_api_and_events(route: Route) -> None:
    below = r"/((api|events|\.well-known)/[a-z{]|events$|metrics$|v1/traces$)"
    assert route is DESCRIPTION or re.match(below, route.path)


@each_route
async def test_the_document_has_the_route_with_its_permission_and_parameters(route: Route) -> None:
    described = await operation(route)

    names = {
        place: {parameter["name"] for parameter in described["parameters"] if parameter["in"] == place}
        for place in ("path", "query")
    }
    query = {field.encode_name for field in msgspec.structs.fields(route.query)} if route.query else set()
    assert described["x-tekton-permission"] == route.permission
    assert names == {"path": set(route.parameters), "query": query}
    assert ("requestBody" in described) is (route.body is not None or bool(route.raw))


@each_route
async def test_the_document_has_the_errors_of_the_route_under_their_statuses(route: Route) -> None:
    responses = (await operation(route))["responses"]

    assert str(route.status) in responses
    for kind in route.errors:
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        assert kind.code in responses[str(status)]["description"]


async def test_every_operation_has_an_id_of_its_own() -> None:
    paths = (await document())["paths"]

    ids = [described["operationId"] for operations in paths.values() for described in operations.values()]
    assert len(set(ids)) == len(ids) == len(ROUTES)


async def test_every_reference_in_the_document_leads_somewhere() -> None:
    found = await document()

    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(found)))
    assert references <= set(found["components"]["schemas"])
    assert "ComponentRecord" in references
