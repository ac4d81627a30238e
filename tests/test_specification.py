"""The specification's code blocks run unchanged, wherever the specification is at hand.

Each block gets the names that it leaves undefined, a data directory of its own, and hermes and engram READY.
"""

import ast
import inspect
import json
import logging
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tekton.a2a.task import TaskState
from tekton.a2a.task_steps import TaskContext
from tekton.component import Component
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.graceful_degradation import NoFallbackAvailableError
from tekton.core.lifecycle import VALID_TRANSITIONS, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import AgentUnreachableError
from tekton.utils.tekton_logging import JSONFormatter

ROOT = Path(__file__).resolve().parent.parent
SPECIFICATION = ROOT.parent / "shared" / "spec" / "tekton.md"

pytestmark = pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not beside this checkout")


def block(heading: str, place: int = 0) -> str:
    """The first Python block after *heading*, or a later one."""
    text = SPECIFICATION.read_text()
    section = text[re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE).end() :]  # type: ignore[union-attr]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[place]


async def run(heading: str, data_dir: Path, place: int = 0, **names: Any) -> dict[str, Any]:
    """Execute the block under *heading* with top-level await; returns its names."""
    source = block(heading, place).replace("/path/to/data", str(data_dir))
    code = compile(source, heading, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(code, names)
    if inspect.iscoroutine(outcome):
        await outcome
    return names


async def ready_registry(data_dir: Path) -> ComponentRegistry:
    registry = ComponentRegistry(data_dir=data_dir)
    for name in ("hermes", "engram"):
        registration = ComponentRegistration(component_id=name)
        await registry.register(registration)
        await registry.make_ready(name, registration.instance_uuid)
    return registry


def starter(calls: list[str], name: str) -> Any:
    async def start() -> None:
        calls.append(name)

    return start


async def test_component_registry(tmp_path: Path) -> None:
    async with await ready_registry(tmp_path):
        names = await run("Component Registry", tmp_path)

    assert names["success"]
    assert names["component"].state is ComponentState.READY
    assert names["component"].capabilities == ("data_processing",)
    assert [component.component_id for component in names["components"]] == ["example_component"]


async def test_startup_coordinator(tmp_path: Path) -> None:
    calls: list[str] = []
    async with await ready_registry(tmp_path):
        names = await run(
            "Startup Coordinator",
            tmp_path,
            **{
                name: starter(calls, name)
                for name in ("start_component_function", "start_hermes", "start_engram", "start_component")
            },
        )

    assert (names["success"], names["error"]) == (True, None)
    assert {name: result.success for name, result in names["results"].items()} == {
        "hermes": True,
        "engram": True,
        "example_component": True,
    }
    assert calls == ["start_component_function"]


async def test_heartbeat_monitor(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        registration = ComponentRegistration(component_id="example_component")
        await registry.register(registration)
        await registry.make_ready("example_component", registration.instance_uuid)

        names = await run(
            "Heartbeat Monitor",
            tmp_path,
            registry=registry,
            instance_uuid=registration.instance_uuid,
            time=time,
            ComponentState=ComponentState,
        )

        assert names["monitor"].metrics("example_component")["active_connections"] == 5


async def test_dependency_resolver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run("Dependency Resolver", tmp_path)

    order = names["start_order"]
    assert names["cycles"] == []
    assert sorted(order) == sorted(names["dependency_graph"])
    assert all(
        order.index(dependency) < order.index(name)
        for name, needed in names["dependency_graph"].items()
        for dependency in needed
    )
    assert capsys.readouterr().out == ""


async def test_state_machine(tmp_path: Path) -> None:
    names = await run("Component Lifecycle State Machine", tmp_path)

    assert {state.name: state.value for state in names["ComponentState"]} == {
        state.name: state.value for state in ComponentState
    }
    assert {
        state.name: [target.name for target in targets] for state, targets in names["VALID_TRANSITIONS"].items()
    } == {state.name: [target.name for target in targets] for state, targets in VALID_TRANSITIONS.items()}


async def test_graceful_degradation(tmp_path: Path) -> None:
    asked: list[tuple[str, int, str | None]] = []

    async def generate_text(prompt: str, max_tokens: int, model: str | None = None) -> str:
        asked.append((prompt, max_tokens, model))
        if model is None:
            raise ConnectionError("rhetor is down")
        return f"{model} says hello"

    names = await run(
        "Graceful Degradation Manager",
        tmp_path,
        generate_text=generate_text,
        prompt="hello",
        NoFallbackAvailableError=NoFallbackAvailableError,
    )

    assert names["result"] == "llama3 says hello"
    assert asked == [("hello", 100, None), ("hello", 100, "llama3")]
    settings = names["degradation_manager"].breaker("rhetor").settings
    assert (settings.failure_threshold, settings.reset_timeout, settings.half_open_requests) == (5, 60, 2)


async def test_graceful_degradation_without_a_fallback_that_works(tmp_path: Path) -> None:
    def generate_text(prompt: str, max_tokens: int, model: str | None = None) -> str:
        raise ConnectionError(f"{model} is down")

    names = await run(
        "Graceful Degradation Manager",
        tmp_path,
        generate_text=generate_text,
        prompt="hello",
        NoFallbackAvailableError=NoFallbackAvailableError,
    )

    assert names["result"] == "Sorry, text generation is currently unavailable"


async def test_metrics(tmp_path: Path) -> None:
    names = await run("Logging and Metrics", tmp_path, 1)

    (startup_time,) = names["startup_times"]
    assert startup_time.labels == {"component_id": "example_component", "version": "1.0.0"}
    assert (startup_time.value.count, startup_time.value.sum) == (1, 5.2)
    (connections,) = names["metrics_manager"].get_metric_values("active_connections")
    assert connections.value == 10
    exposed = {metric.exposed for metric in names["metrics_manager"].metrics()}
    assert exposed == {"active_connections", "component_startup_time_seconds"}


async def test_port_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    names = await run("Port Configuration", tmp_path)

    assert (names["hermes_port"], names["engram_port"], names["rhetor_port"], names["tekton_port"]) == (
        8001,
        8000,
        8003,
        8010,
    )


async def test_url_construction(tmp_path: Path) -> None:
    names = await run("URL Construction", tmp_path)

    assert names["api_url"] == "http://localhost:8001/api/registry/services"
    assert names["ws_url"] == "ws://localhost:8003/ws/generate"
    assert names["events_url"] == "http://localhost:8000/events/memory/updated"


async def succeed() -> None:
    pass


async def fail() -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("start", "ready", "state"),
    [(succeed, True, ComponentState.READY), (fail, True, ComponentState.DEGRADED), (succeed, False, None)],
    ids=["starts", "starts degraded", "dependencies failed"],
)
async def test_error_handling(tmp_path: Path, start: Any, ready: bool, state: ComponentState | None) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        coordinator = EnhancedStartUpCoordinator(registry=registry)
        await coordinator.initialize()
        for name in ("hermes", "engram"):
            await coordinator.register_component_handler(component_id=name, start_func=succeed)
            instance = ComponentRegistration(component_id=name, instance_uuid=str(uuid.uuid4()))
            await registry.register(instance)
            await registry.make_ready(name, instance.instance_uuid)
            if not ready:
                registry.observe(name, instance.instance_uuid, ComponentState.FAILED, "test")

        await run(
            "Error Handling and Recovery",
            tmp_path,
            coordinator=coordinator,
            logger=logging.getLogger("specification"),
            start_component_function=start,
            start_degraded_function=succeed,
        )

        component = registry.find("example_component")
        assert (component.state if component else None) == state
        assert all(registry.find(name).state is ComponentState.READY for name in ("hermes", "engram"))  # type: ignore[union-attr]


async def test_component_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engram = Component("engram", capabilities=["memory_storage"], port=0)
    called: list[str] = []

    async def everything(scope: Any, _: Any, send: Any) -> None:
        assert scope["type"] == "http"
        called.append(f"{scope['method']} {scope['path']}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"stored":true}'})

    engram.mount("/", everything)
    async with InMemoryControlPlane() as plane:
        monkeypatch.setenv("TEKTON_URL", plane.address.url)
        async with engram:
            await plane.registry.wait_until("engram", lambda record: record is not None and record.usable)
            names = await run("Component Discovery", tmp_path)

    assert names["response"] == {"stored": True}
    assert [component.component_id for component in names["memory_components"]] == ["engram"]
    assert called == ["POST /api/memory/store", "GET /..."]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEKTON_DATA_DIR", str(tmp_path / "data"))


async def test_resource_monitor(tmp_path: Path) -> None:
    names = await run("Resource Monitor", tmp_path)

    assert all(0 <= busy <= 1 for busy in names["cpu_usage"])
    assert names["cpu_usage"]
    assert {"total", "used", "percent"} <= set(names["memory_usage"])
    assert all({"id", "util", "mem_used"} <= set(gpu) for gpu in names["gpu_usage"])
    assert bool(names["satisfied"]) is not bool(names["satisfied"].reasons)
    assert not names["monitor"].running


async def test_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "example_component"):
        await run("Logging and Metrics", tmp_path)

    records = [record for record in caplog.records if record.name == "example_component"]
    assert [record.levelname for record in records] == ["DEBUG", "INFO", "WARNING", "ERROR", "INFO"]
    assert json.loads(JSONFormatter().format(records[-1]))["user_id"] == "user123"


async def test_message_structure(tmp_path: Path) -> None:
    names = await run("Message Structure", tmp_path)

    message, received = names["message"], names["received"]
    assert received == message
    assert (received.content, received.metadata) == (message.content, {"priority": "high", "timeout": 30})
    assert received.context.trace_id == "550e8400-e29b-41d4-a716-446655440000"


async def test_message_processor(tmp_path: Path) -> None:
    asked: list[str] = []

    async def code_search_handler(query: str) -> list[str]:
        asked.append(query)
        return [f"main.py: {query}"]

    message = Message(
        MessageType.REQUEST, {"query": "def main"}, MessageContext("example_component"), {"tool": "code_search"}
    )

    names = await run("Message Processor", tmp_path, code_search_handler=code_search_handler, message=message)

    result = names["result"]
    assert (result.message_type, result.content) == (MessageType.RESPONSE, ["main.py: def main"])
    assert result.context.parent_id == message.message_id
    assert asked == ["def main"]


async def test_message_processor_with_the_message_of_the_other_block(tmp_path: Path) -> None:
    message = (await run("Message Structure", tmp_path))["message"]

    names = await run("Message Processor", tmp_path, code_search_handler=lambda: None, message=message)

    # It asks for a text, and nobody has said who writes texts.
    assert names["result"].message_type is MessageType.ERROR
    assert names["result"].content["code"] == "no_handler"


async def test_agent_registration(tmp_path: Path) -> None:
    names = await run("Agent Registration", tmp_path)

    assert [agent.agent_id for agent in names["agents"]] == ["code_assistant"]
    assert names["agents"][0].metadata["model"] == "claude-3-sonnet-20240229"


async def test_conversation_management(tmp_path: Path) -> None:
    names = await run("Conversation Management", tmp_path)

    assert names["history"] == [names["message"]]
    assert names["conversation"].context["code"].startswith("def fibonacci(n):")
    assert names["summary"] == "user_agent: Can you help me optimize this function?"


async def test_task_management(tmp_path: Path) -> None:
    async def optimize(code: str, requirements: list[str], context: TaskContext) -> str:
        return await context.step("optimize", lambda: f"{code.splitlines()[0]}  # {requirements[0]}")

    registry = (await run("Agent Registration", tmp_path))["registry"]
    registry.bind("code_assistant", optimize)

    names = await run("Task Management", tmp_path, registry=registry)

    assert [agent.agent_id for agent in names["assigned_agents"]] == ["code_assistant"]
    assert names["results"] == "def fibonacci(n):  # improve performance"
    assert names["status"].state is TaskState.COMPLETED


async def test_task_management_without_anybody_who_does_the_work(tmp_path: Path) -> None:
    registry = (await run("Agent Registration", tmp_path))["registry"]

    with pytest.raises(AgentUnreachableError, match="code_assistant"):
        await run("Task Management", tmp_path, registry=registry)


@pytest.mark.usefixtures("configured")
async def test_authentication(tmp_path: Path) -> None:
    names = await run("Authentication", tmp_path)

    assert (names["is_valid"], names["component_id"], names["role"]) == (True, "example_component", "component")
    assert names["claims"]["iss"] == "tekton"


@pytest.mark.usefixtures("configured")
async def test_authorization(tmp_path: Path) -> None:
    names = await run("Authorization", tmp_path)

    assert [names[name] for name in ("can_register", "can_read_metrics", "can_manage_components")] == [True] * 3
