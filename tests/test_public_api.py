"""What users import is there, under the names of the specification, and importing the package stays cheap."""

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import tekton

ROOT = Path(__file__).resolve().parent.parent

SPECIFIED = {
    "tekton.a2a.agent_registry": ["AgentRegistry"],
    "tekton.a2a.conversation": ["Conversation"],
    "tekton.a2a.discovery": ["AgentDiscovery"],
    "tekton.a2a.message": ["AgentMessage"],
    "tekton.a2a.task_manager": ["TaskManager"],
    "tekton.core.component_lifecycle": ["ComponentRegistry"],
    "tekton.core.component_lifecycle.registry": ["ComponentRegistry"],
    "tekton.core.component_lifecycle.readiness": ["ReadinessCondition"],
    "tekton.core.dependency": ["DependencyResolver"],
    "tekton.core.heartbeat_monitor": ["ComponentHeartbeat", "HeartbeatMonitor"],
    "tekton.core.resource_monitor": ["ResourceMonitor"],
    "tekton.core.lifecycle": ["VALID_TRANSITIONS", "ComponentRegistration", "ComponentState"],
    "tekton.core.startup_coordinator": ["EnhancedStartUpCoordinator"],
    "tekton.mcp.context": ["MessageContext"],
    "tekton.mcp.message": ["Message", "MessageType"],
    "tekton.mcp.modality.code": ["CodeContent"],
    "tekton.mcp.modality.image": ["ImageContent"],
    "tekton.mcp.modality.structured": ["StructuredContent"],
    "tekton.mcp.modality.text": ["TextContent"],
    "tekton.mcp.processor": ["MessageProcessor"],
    "tekton.mcp.tool_registry": ["ToolRegistry"],
    "tekton.utils.component_client": ["find_component", "find_components_by_capability"],
    "tekton.utils.tekton_auth": ["check_permission", "generate_token", "verify_token"],
    "tekton.utils.tekton_config": ["TektonConfig"],
    "tekton.utils.tekton_errors": ["ComponentError", "DependencyError", "TektonError"],
    "tekton.utils.tekton_http": ["construct_url"],
    "tekton.utils.tekton_logging": ["get_logger"],
    "tekton.utils.tekton_registration": ["Registration"],
    "tekton.utils.tekton_websocket": ["WebSocketClient"],
    "tekton.service.main": ["main"],
}
"""Import paths of the specification that this release has."""

METHODS = {
    "tekton.a2a.agent_registry.AgentRegistry": ["register_agent", "find_agents_by_capability"],
    "tekton.a2a.conversation.Conversation": ["add_message", "get_history", "generate_summary"],
    "tekton.a2a.task_manager.TaskManager": ["create_task", "route_task", "execute_task", "get_task_status"],
    "tekton.core.component_lifecycle.ComponentRegistry": [
        "register_component",
        "update_component_state",
        "mark_component_ready",
        "get_component",
        "get_components_by_capability",
    ],
    "tekton.core.startup_coordinator.EnhancedStartUpCoordinator": [
        "initialize",
        "register_component_handler",
        "start_component",
        "start_components",
        "restart_component",
        "start_component_degraded",
    ],
    "tekton.core.heartbeat_monitor.HeartbeatMonitor": ["start_monitoring", "process_heartbeat", "stop_monitoring"],
    "tekton.core.dependency.DependencyResolver": ["resolve_dependencies"],
    "tekton.mcp.processor.MessageProcessor": ["process_message"],
    "tekton.mcp.tool_registry.ToolRegistry": ["register_tool"],
    "tekton.core.resource_monitor.ResourceMonitor": [
        "start",
        "get_cpu_usage",
        "get_memory_usage",
        "get_gpu_usage",
        "register_threshold_callback",
        "check_constraints",
        "stop",
    ],
    "tekton.utils.tekton_config.TektonConfig": ["load_from_file", "get_port"],
    "tekton.utils.component_client.ComponentClient": ["call_api"],
}
"""Methods that the specification's examples call."""

HEAVY = ("aiohttp", "apsw", "asyncio", "granian", "msgspec", "psutil", "tekton._native", "uvloop")

MODULES = [
    module.name
    for module in pkgutil.walk_packages(tekton.__path__, "tekton.")
    if not any(part.startswith("_") for part in module.name.split("."))
]

each_module = pytest.mark.parametrize("name", MODULES)


def imported(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in SPECIFIED.items() for name in names])
def test_a_name_of_the_specification_is_there(module: str, name: str) -> None:
    assert hasattr(imported(module), name)


@pytest.mark.parametrize(("path", "method"), [(path, name) for path, names in METHODS.items() for name in names])
def test_a_method_of_the_specification_is_there_and_documented(path: str, method: str) -> None:
    module, _, name = path.rpartition(".")
    found = getattr(getattr(imported(module), name), method)

    assert callable(found)
    assert found.__doc__


@pytest.mark.parametrize("name", tekton.__all__)
def test_a_name_of_the_package_is_there(name: str) -> None:
    assert getattr(tekton, name) is not None


@each_module
def test_what_a_module_says_it_has_is_there(name: str) -> None:
    module = imported(name)

    exported = getattr(module, "__all__", [])
    assert [missing for missing in exported if not hasattr(module, missing)] == []
    assert len(set(exported)) == len(exported)


@each_module
def test_a_module_says_what_it_is_for(name: str) -> None:
    module = imported(name)
    source = Path(module.__file__ or "")

    assert module.__doc__ or not source.read_text()


@pytest.mark.parametrize("name", ["tekton", "tekton.cli", "tekton.utils.tekton_errors", "tekton.clock"])
def test_importing_does_not_load_what_is_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    loaded = set(result.stdout.split())
    assert name in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_component_loads_what_verifies_tokens_only_when_it_is_shown_one() -> None:
    code = "import sys, tekton.component.component; print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert {"jwt", "cryptography", "aiohttp", "apsw"}.isdisjoint(result.stdout.split())


def requirements() -> dict[str, str]:
    """What the distribution requires: name -> requirement."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in project["dependencies"]]
    return dict(zip(found, project["dependencies"], strict=True))


def test_the_deprecated_and_the_replaced_distributions_are_not_required() -> None:
    assert {"pynvml", "httpx"}.isdisjoint(requirements())


def test_every_requirement_has_a_reason() -> None:
    reasons = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()

    for name in requirements():
        assert re.search(rf"^\|.*\b{re.escape(name)}\b", reasons, re.MULTILINE), name


def test_types_are_shipped() -> None:
    assert (Path(tekton.__file__).parent / "py.typed").exists()
    assert (Path(tekton.__file__).parent / "_native.pyi").exists()
