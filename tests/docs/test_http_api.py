"""docs/reference/http-api.md has every route of the control plane, as it is."""

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tekton.auth.roles import ROLES
from tekton.component.standard_routes import Version, standard_routes
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import Change, ComponentRecord, ComponentRegistration
from tekton.gateway.auth import AUTHENTICATED, PUBLIC
from tekton.gateway.decoding import decode_body
from tekton.gateway.router import Route
from tekton.gateway.sockets import SOCKET
from tekton.gateway.sse import EventStream
from tekton.service.api import all_routes
from tekton.service.system import System
from tekton.service.views import ComponentView

Names = Callable[[str], list[str]]


def route_table() -> dict[str, Route]:
    """Every route. Building the table asks no more of a system than what is here."""
    registry = ComponentRegistry()
    system = SimpleNamespace(registry=registry, monitor=HeartbeatMonitor(registry))
    routes = [*all_routes(cast(System, system)), SOCKET]
    return {f"{route.method} {route.path}": route for route in routes}


ROUTES = route_table()

each_route = pytest.mark.parametrize(("name", "route"), ROUTES.items(), ids=list(ROUTES))


@pytest.fixture
def api(page: Callable[[str], Any]) -> Any:
    return page("http-api")


@pytest.fixture
def section(api: Any, name: str) -> Any:
    """What the page says about the route called *name*."""
    return api.sections(3)[name]


def fields(kind: Any) -> list[msgspec.structs.FieldInfo]:
    return [] if kind in (None, dict) else list(msgspec.structs.fields(kind))


def is_complete(example: object, kind: Any) -> bool:
    """True when *example* has all members of *kind* and no others."""
    return bool(json.loads(msgspec.json.encode(msgspec.convert(example, kind))) == example)


def test_the_routes_that_are_documented_are_those_that_exist(api: Any) -> None:
    assert {heading for heading in api.sections(3) if re.match(r"[A-Z]+ /", heading)} == set(ROUTES)


@each_route
def test_the_table_of_contents_leads_to_the_route(name: str, route: Route, api: Any) -> None:
    anchor = re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")

    assert f"(#{anchor})" in api.text.split("\n## ")[0]


@each_route
def test_the_permission_is_documented(name: str, route: Route, section: Any) -> None:
    assert section.item("Permission") == f"`{route.permission}`"


@each_route
def test_the_status_is_documented(name: str, route: Route, section: Any) -> None:
    answer = section.item("Answer")
    assert answer.startswith("101" if route is SOCKET else str(route.status))
    assert {str(status) for status in route.also} <= set(re.findall(r"[0-9]{3}", answer))


@each_route
def test_the_errors_are_documented(name: str, route: Route, section: Any, names: Names) -> None:
    assert {kind.code for kind in route.errors} <= set(names(section.item("Errors")))


@each_route
def test_the_parameters_are_documented_with_their_defaults(name: str, route: Route, section: Any, names: Names) -> None:
    defaults = {names(parameter)[0]: default for parameter, default, _ in section.rows()}

    assert list(defaults) == [field.encode_name for field in fields(route.query)]
    for field in fields(route.query):
        if field.required:
            assert defaults[field.encode_name] == "required"
        elif field.default is not None:
            assert defaults[field.encode_name] == f"`{json.dumps(field.default)}`"


@each_route
def test_the_body_is_documented_with_its_fields_and_its_limit(
    name: str, route: Route, section: Any, names: Names
) -> None:
    size = route.max_body // 1024
    limit = f"{size // 1024} MiB" if size >= 1024 else f"{size} KiB"

    assert bool(section.item("Body")) is (route.body is not None)
    assert route.max_body == 65536 or limit in section.text
    if route.body is not ComponentRegistration:
        assert {field.encode_name for field in fields(route.body)} <= set(names(section.item("Body")))


@each_route
def test_the_examples_are_a_body_that_is_taken_and_an_answer_that_is_given(
    name: str, route: Route, section: Any
) -> None:
    examples = section.examples()
    if route.decoder is not None:
        decode_body(route.decoder, json.dumps(examples.pop(0)).encode())

    if examples:
        assert [is_complete(example, route.response) for example in examples] == [True]
    elif route.response not in (None, EventStream, bytes):
        assert re.search(r"\(#component-(record|view)\)", section.item("Answer"))


def test_the_fields_of_a_registration_are_documented_with_their_defaults(api: Any, names: Names) -> None:
    defaults = {names(field)[0]: default for field, default, _ in api.sections(3)["Registration"].rows()}
    plain = ComponentRegistration(component_id="x")

    assert set(defaults) == {field.encode_name for field in fields(ComponentRegistration)}
    for field in ("component_type", "version", "max_instances"):
        assert defaults[field] == f"`{getattr(plain, field)}`"


@pytest.mark.parametrize(
    ("heading", "kind"), [("Component record", ComponentRecord), ("Component view", ComponentView), ("Change", Change)]
)
def test_the_example_of_a_value_has_all_its_fields(heading: str, kind: type, api: Any) -> None:
    (example,) = api.sections(3)[heading].examples()

    assert is_complete(example, kind)


def test_the_permissions_are_those_of_the_routes_with_the_roles_that_have_them(api: Any, names: Names) -> None:
    table = {names(permission)[0]: who for permission, who, _ in api.sections(2)["Who may do what"].rows()[-20:]}
    expected = {
        route.permission: ", ".join(
            f"`{name}`" for name in sorted(ROLES) if route.permission in ROLES[name].permissions
        )
        for route in ROUTES.values()
    }

    assert table == {
        **expected,
        PUBLIC: "everybody",
        AUTHENTICATED: "everybody who has shown a credential",
    }


def test_the_routes_of_every_component_are_documented(api: Any, names: Names) -> None:
    async def ready() -> None: ...

    standard = standard_routes(Version("x", "1", "3", 1), ready, [])
    table = api.sections(2)["What every component serves"].rows()

    assert [names(route)[0] for route, _ in table] == [f"{route.method} {route.path}" for route in standard]
