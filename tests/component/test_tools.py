"""Tools over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import msgspec
import pytest
from leaps import Leaps

from tekton.component import Component
from tekton.gateway.tool_calls import MAX_EVENTS, MAX_STREAM
from tekton.mcp.tool_context import ToolContext
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.server_sent_events import EventStreamParser
from tekton.utils.tekton_errors import InvalidRegistrationError, ProblemError
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


class Worker:
    """A component with tools that do what the tests need, and what it has seen of them."""

    def __init__(self) -> None:
        self.app = Component("worker", port=0, register=False)
        self.begun, self.go_on, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.app.tool(timeout=30, max_concurrent=1, max_waiting=0)(self.wait)
        self.app.tool(timeout=0.05)(self.hang)
        for tool in (self.fail, self.count, self.flood):
            self.app.tool(tool)

    async def wait(self) -> str:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"

    async def hang(self) -> None:
        await asyncio.Event().wait()

    async def fail(self, how: Literal["defect", "refusal", "garbage"]) -> Any:
        if how == "defect":
            raise LookupError("the password is swordfish")
        if how == "refusal":
            raise ProblemError(404, "out_of_stock", "there is no apple left", "ask for a pear")
        return object()

    async def count(self, to: int, context: ToolContext, text: str = "") -> AsyncIterator[int]:
        for number in range(1, to + 1):
            context.progress(number, to, text)
            context.log("info", "counted", number=number)
            yield number

    async def flood(self, events: int, context: ToolContext) -> str:
        for number in range(events):
            context.progress(number, None, "x" * 1000)
        return "done"


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    async with worker.app:
        yield worker


async def stream(app: Component, tool: str, arguments: object) -> list[tuple[str, Any]]:
    """The events of a call, with what they tell."""
    url, headers = f"http://127.0.0.1:{app.port}/api/tools/{tool}", {"accept": "text/event-stream"}
    parser = EventStreamParser()
    async with aiohttp.ClientSession() as session, session.post(url, json=arguments, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = [event async for piece in answer.content.iter_any() for event in parser.feed(piece)]
    assert events[-1].event == "bye"
    return [(event.event, msgspec.json.decode(event.data)) for event in events[:-1]]


async def test_a_call_can_be_a_stream_of_what_the_tool_says(worker: Worker) -> None:
    events = await stream(worker.app, "count", {"to": 2, "text": "x"})

    assert events == [
        ("progress", {"event": "progress", "done": 1.0, "total": 2.0, "text": "x"}),
        ("log", {"event": "log", "level": "info", "text": "counted", "fields": {"number": 1}}),
        ("chunk", {"event": "chunk", "value": 1}),
        ("progress", {"event": "progress", "done": 2.0, "total": 2.0, "text": "x"}),
        ("log", {"event": "log", "level": "info", "text": "counted", "fields": {"number": 2}}),
        ("chunk", {"event": "chunk", "value": 2}),
        ("result", {"result": 2}),
    ]


async def test_without_a_stream_the_last_value_is_the_result(worker: Worker) -> None:
    assert (await post(worker.app, "/api/tools/count", {"to": 2})).body == b'{"result":2}'


async def test_arguments_are_refused_before_there_is_a_stream(worker: Worker) -> None:
    url, headers = f"http://127.0.0.1:{worker.app.port}/api/tools/count", {"accept": "text/event-stream"}
    async with aiohttp.ClientSession() as session, session.post(url, json={"to": "x"}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["pointer"]) == (422, "/to")


async def test_a_stream_ends_with_what_went_wrong(worker: Worker) -> None:
    ((name, problem),) = await stream(worker.app, "fail", {"how": "refusal"})

    assert (name, problem["status"], problem["code"], problem["hint"]) == (
        "error",
        404,
        "out_of_stock",
        "ask for a pear",
    )


@pytest.mark.parametrize("events", [1500, 5000], ids=["at-a-time", "in-all"])
async def test_what_is_said_too_much_is_dropped_and_the_result_is_not(worker: Worker, events: int) -> None:
    heard = await stream(worker.app, "flood", {"events": events})

    told = [data for name, data in heard if name == "progress"]
    assert heard[-1] == ("result", {"result": "done"})
    assert sum(data["events"] for name, data in heard if name == "lost") + len(told) == events
    assert len(told) * 1000 < MAX_EVENTS < MAX_STREAM
    assert told[-1]["done"] == events - 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_who_closes_the_connection_cancels_the_call(worker: Worker, accept: str) -> None:
    url = f"http://127.0.0.1:{worker.app.port}/api/tools/wait"
    async with asyncio.timeout(10), aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:

        async def ask() -> None:
            async with session.post(url, json={}, headers={"accept": accept}) as answer:
                await answer.read()

        asking = group.create_task(ask())
        await worker.begun.wait()
        asking.cancel()
        await worker.cancelled.wait()

    assert worker.app.tools.abandoned("wait") == 0


async def test_a_tool_that_takes_too_long_is_cancelled_and_that_is_the_answer(worker: Worker) -> None:
    answer = await post(worker.app, "/api/tools/hang", {})

    problem = msgspec.json.decode(answer.body)
    assert (answer.status, problem["code"], problem["tool_id"], problem["timeout"]) == (
        504,
        "tool_timeout",
        "hang",
        0.05,
    )


async def test_the_time_that_the_caller_has_holds_for_the_tool(worker: Worker) -> None:
    leaps = Leaps()
    async with HttpClient(f"http://127.0.0.1:{worker.app.port}", timeout=60) as client, asyncio.TaskGroup() as group:
        asking = group.create_task(client.send("POST", "/api/tools/wait", {}, {"Tekton-Timeout": "10"}))
        await worker.begun.wait()
        leaps.leap(10.0)

    assert asking.result().status == 504
    assert worker.cancelled.is_set()


async def test_no_more_calls_run_at_once_than_may(worker: Worker) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        first = group.create_task(post(worker.app, "/api/tools/wait", {}))
        await worker.begun.wait()
        second = await post(worker.app, "/api/tools/wait", {})
        worker.go_on.set()

    assert (first.result().status, second.status) == (200, 503)
    assert msgspec.json.decode(second.body)["code"] == "tool_busy"


async def test_of_a_defect_the_caller_learns_only_that_there_is_one(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await post(worker.app, "/api/tools/fail", {"how": "defect"})

    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (500, "internal")
    assert b"swordfish" not in answer.body
    assert [record.exc_info is not None for record in caplog.records if "fail" in record.message] == [True]


async def test_what_cannot_be_passed_on_is_a_failure_of_the_tool(worker: Worker) -> None:
    answer = await post(worker.app, "/api/tools/fail", {"how": "garbage"})

    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (502, "tool_failed")


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"max_concurrent": 0}, {"max_waiting": -1}], ids=repr)
def test_limits_that_allow_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allows nothing"):
        Component("greeter").tool(**limits)


async def test_tools_go_with_the_registration(plane: InMemoryControlPlane) -> None:
    app = Component("greeter", port=0, control_plane=plane.address)

    @app.tool(timeout=5, annotations={"readOnlyHint": True})
    async def greet(name: str) -> str:
        """Greet someone by name."""
        return f"Hello, {name}."

    async with app, asyncio.timeout(10):
        record = await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)

    assert record is not None
    (tool,) = record.offered
    assert (tool.name, tool.description, tool.timeout, tool.harmless) == ("greet", "Greet someone by name.", 5, True)
    assert tool.input_schema["required"] == ["name"]
    assert tool.output_schema == {"type": "string"}


async def test_more_tools_than_can_be_registered_keep_a_component_from_starting(plane: InMemoryControlPlane) -> None:
    app = Component("greeter", port=0, control_plane=plane.address)

    @app.tool(description="x" * 65536)
    async def greet() -> None: ...

    with pytest.raises(InvalidRegistrationError, match="larger than 65536 bytes"):
        await app.start()
    assert app.port is None
