"""docs/reference/websocket-and-events.md has every frame and every event, as they are."""

import inspect
import json
import re
import typing
from collections.abc import Callable
from typing import Any, cast

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration
from tekton.gateway import component_topic, operations, sockets, sse, topics
from tekton.gateway import frames as answers
from tekton.gateway.bus import port, session
from tekton.gateway.changes import ChangeSource
from tekton.mcp.message import Message
from tekton.service import logs, task_topics, tracing
from tekton.service.system import System
from tekton.service.topics import socket_topics
from tekton.utils.tekton_errors import InvalidMessageError

Names = Callable[[str], list[str]]


@pytest.fixture
def watching(page: Callable[[str], Any]) -> Any:
    return page("websocket-and-events")


@pytest.fixture
def frames(watching: Any) -> Callable[[str], list[dict[str, Any]]]:
    """`frames("→")`: the frames after that arrow. An ellipsis stands for what is left out."""

    def read(arrow: str) -> list[dict[str, Any]]:
        lines = re.findall(rf"^{arrow} (\{{.*)$", watching.text, re.MULTILINE)
        return [json.loads(line.replace("[…]", "[]").replace("{…}", "{}")) for line in lines]

    return read


def test_every_operation_is_documented_with_an_example(
    watching: Any, frames: Callable[[str], list[dict[str, Any]]]
) -> None:
    kinds = typing.get_args(operations.Operation)

    shown = {type(operations.read_operation(json.dumps(frame).encode())) for frame in frames("→")}

    assert shown == set(kinds)
    said = watching.sections(3)["Operations"].text + watching.sections(3)["The bus"].text
    for kind in kinds:
        assert f"**`{kind.__struct_config__.tag}`**" in said


def test_every_frame_of_the_server_is_documented_with_its_members(
    watching: Any, frames: Callable[[str], list[dict[str, Any]]], names: Names
) -> None:
    makers: tuple[Any, ...] = (sockets._Session, answers, component_topic, topics.Conflated, logs, tracing, task_topics)
    source = "".join(map(inspect.getsource, makers))
    sent = set(re.findall(r'"(?:t": ?|op":)"(\w+)"(?!,"id")', source))
    sent.add("msg")  # made by Envelope.frame
    documented = {names(row[0])[0]: set(names(row[1])) for row in watching.sections(3)["Frames of the server"].rows()}
    shown = {kind: set(frame) for frame in frames("←") for kind in [frame.pop("t", None) or frame.pop("op")]}

    assert set(documented) == set(shown) == sent
    for kind, members in shown.items():
        assert members <= documented[kind]


class Anything:
    """A system of which no more is asked than that it has everything."""

    def __getattr__(self, name: str) -> Any:
        return Anything()

    def __call__(self) -> Any:
        return topics.Topic("logs:read", cast(topics.Opener, self))


def test_every_topic_is_documented_with_its_permission(watching: Any, names: Names) -> None:
    table = socket_topics(cast(System, Anything()))
    documented = {names(row[0])[0]: names(row[1])[0] for row in watching.sections(3)["Topics"].rows()}

    assert documented == {name: table.permission(name) for name in table.names}


async def test_every_event_is_documented(watching: Any, names: Names, registry: ComponentRegistry) -> None:
    events = sse.ChangeEvents(ChangeSource(registry.feed, registry.all_instances)).stream("unknown").source
    sent = await anext(events)
    await registry.register(ComponentRegistration(component_id="x"))
    sent += await anext(events) + sse.bye("stopping")

    documented = [names(row[0])[0] for row in watching.sections(2)["Server-sent events"].rows()]
    assert sorted(documented) == sorted(re.findall(r"^event: (\w+)$", sent.decode(), re.MULTILINE))


def test_the_limits_are_documented(watching: Any) -> None:
    limits = watching.sections(3)["Limits"].text
    events = watching.sections(2)["Server-sent events"].text

    assert f"{sockets.MAX_MESSAGE // 1024} KiB" in limits
    assert f"{sockets.MAX_SUBSCRIPTIONS} subscriptions" in limits
    assert f"{session.MAX_SUBSCRIPTIONS} to subjects" in limits
    assert f"{port.MAX_PATTERNS:,} of these" in limits
    assert f"{sockets.STALL_TIMEOUT:g} seconds" in limits
    assert f"every {sockets.PING_INTERVAL:g} seconds" in watching.sections(3)["Operations"].text
    assert f"every {sse.PING_INTERVAL:g} seconds" in events
    assert f"{sse.BUDGET // 2**20} MiB" in events


def test_the_message_that_is_shown_is_whole_and_what_it_must_have_is_said(
    watching: Any, frames: Callable[[str], list[dict[str, Any]]]
) -> None:
    [shown] = [frame["message"] for frame in frames("→") if frame["op"] == "pub" and frame["message"]]
    said = watching.sections(3)["The bus"].text
    required = re.findall(r"^\| `(\w+)` \| required", said, re.MULTILINE)

    assert Message.from_json(json.dumps(shown)).context.sender == "owner"
    assert set(required) == set(shown)
    for name in required:
        with pytest.raises(InvalidMessageError, match=name):
            Message.from_json(json.dumps({key: value for key, value in shown.items() if key != name}))
    assert f"`credit` for, which is {operations.Consume.__struct_defaults__[-1]} unless" in said
