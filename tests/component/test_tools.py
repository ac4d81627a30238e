"""Tools over HTTP."""

from typing import Any

import msgspec
import pytest

from tekton.component import Component
from tekton.utils.tekton_http import Answer, HttpClient


class Place(msgspec.Struct):
    city: str


def greeter() -> Component:
    app = Component("greeter", port=0, register=False)

    @app.tool
    async def greet(name: str, excited: bool = False) -> str:
        """Greet someone by name."""
        return f"Hello, {name}{'!' if excited else '.'}"

    @app.tool(name="places.visit", description="Go there.")
    def visit(place: Place) -> dict[str, str]:
        return {"visited": place.city}

    return app


async def post(app: Component, path: str, body: object) -> Answer:
    async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
        return await client.send("POST", path, body)


async def test_tools_are_listed_with_their_schemas() -> None:
    async with greeter() as app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        listed = (await client.request("GET", "/api/tools"))["tools"]

    assert [(tool["name"], tool["description"]) for tool in listed] == [
        ("greet", "Greet someone by name."),
        ("places.visit", "Go there."),
    ]
    assert listed[0]["input_schema"]["required"] == ["name"]


async def test_a_tool_is_called_and_its_result_returned() -> None:
    async with greeter() as app:
        greeting = await post(app, "/api/tools/greet", {"name": "Ada", "excited": True})
        visited = await post(app, "/api/tools/places.visit", {"place": {"city": "Bath"}})

    assert (greeting.status, greeting.body) == (200, b'{"result":"Hello, Ada!"}')
    assert visited.body == b'{"result":{"visited":"Bath"}}'


@pytest.mark.parametrize(
    ("path", "arguments", "pointer", "hint"),
    [
        ("greet", {"name": 1}, "/name", None),
        ("greet", {}, "/name", None),
        ("greet", {"name": "Ada", "exited": True}, "/exited", "did you mean 'excited'?"),
        ("places.visit", {"place": {"city": None}}, "/place/city", None),
    ],
)
async def test_arguments_that_do_not_fit_are_pointed_at(
    path: str, arguments: Any, pointer: str, hint: str | None
) -> None:
    async with greeter() as app:
        refusal = await post(app, f"/api/tools/{path}", arguments)

    problem = msgspec.json.decode(refusal.body)
    assert (refusal.status, problem["pointer"], problem.get("hint")) == (422, pointer, hint)


async def test_an_unknown_tool_is_not_found_and_the_nearest_named() -> None:
    async with greeter() as app:
        refusal = await post(app, "/api/tools/gret", {})

    assert refusal.status == 404
    assert msgspec.json.decode(refusal.body)["hint"] == "did you mean 'greet'?"


async def test_tools_are_in_the_openapi_document() -> None:
    async with greeter() as app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        document = await client.request("GET", "/openapi.json")

    operation = document["paths"]["/api/tools/greet"]["post"]
    assert operation["summary"] == "Greet someone by name."
    schema = document["components"]["schemas"]["GreetArguments"]
    assert schema["properties"]["excited"] == {"type": "boolean", "default": False}


def test_two_tools_cannot_have_one_name() -> None:
    app = greeter()

    with pytest.raises(ValueError, match="greet already"):
        app.tool(name="greet")(lambda: None)
