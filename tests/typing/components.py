"""What a type checker sees as the author of a component. Checked by test_typing.py, never run."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, assert_type

import msgspec

import tekton
from tekton.component import Component, EventStream, Request, Response
from tekton.core.lifecycle import Change
from tekton.utils.component_client import (
    ComponentClient,
    Discovery,
    find_component,
    find_components_by_capability,
)
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import DependencyError, IllegalTransitionError, TektonError
from tekton.utils.tekton_http import HttpClient, construct_url
from tekton.utils.tekton_websocket import Snapshot, WebSocketClient


class Greeting(msgspec.Struct):
    text: str


app = tekton.Component("greeter", capabilities=["greet"], depends_on=["hermes"], port=8100)
assert_type(app, Component)
assert_type(app.port, int | None)
assert_type(app.component_id, str)


@app.get("/api/greet/{name}", response=Greeting)
async def greet(request: Request) -> Greeting:
    assert_type(request.params, dict[str, str])
    return Greeting(f"Hello, {request.params['name']}.")


@app.post("/api/greetings", body=Greeting, status=201)
def store(request: Request) -> Response:
    greeting: Greeting = request.body
    return Response.json(greeting, status=201)


@app.on_start
async def connect() -> None: ...


@app.ready_when
async def connected() -> bool:
    return True


@app.tool
async def double(number: int) -> int:
    return 2 * number


@app.tool(name="numbers.halve")
def halve(number: int) -> float:
    return number / 2


async def mounted(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None: ...


app.mount("/admin", mounted)

# Decorated functions stay what they are.
double_again: Callable[[int], Awaitable[int]] = double
halve_again: Callable[[int], float] = halve
greet_again: Callable[[Request], Awaitable[Greeting]] = greet
store_again: Callable[[Request], Response] = store
assert_type(EventStream.__name__, str)


async def discovering() -> None:
    engram = await find_component("engram")
    assert_type(engram, ComponentClient | None)
    if engram:
        assert_type(await engram.call_api("/api/memory/store", method="POST", data={"key": "a"}), Any)
        assert_type(engram.endpoint, str | None)
    assert_type(await find_components_by_capability("memory.read"), list[ComponentClient])
    async with Discovery() as discovery:
        assert_type(discovery.find("engram"), ComponentClient | None)
        assert_type(discovery.stale, float)
    assert_type(await app.publish("memory.updated", {"key": "a"}), int)


async def watching() -> None:
    async with WebSocketClient() as client:
        async for event in client.watch():
            assert_type(event, Snapshot | Change)
    async with HttpClient(construct_url("hermes", "api")) as hermes:
        assert_type(await hermes.request("GET", "/api/health"), Any)


def configuring() -> None:
    config = TektonConfig.load_from_file("config/tekton.json")
    assert_type(config, TektonConfig)
    assert_type(config.get_port("hermes"), int)
    assert_type(config.data_dir, Path)
    assert_type(construct_url("hermes", "ws", "generate"), str)


def failing(error: TektonError) -> None:
    assert_type(error.code, str)
    assert_type(error.hint, str | None)
    match error:
        case DependencyError():
            assert_type(error.failed_dependencies, list[str])
        case IllegalTransitionError():
            assert_type(error.legal, list[str])
