"""Tekton: the control plane for systems of AI components.

What the author of a component needs is here; everything else has its place in a module of its own.

    Component                     a served, registered component in a few lines
    Request, Response             what its routes are given, and what they may answer
    EventStream                   an answer that goes on, event by event
    Message, MessageType, MessageContext
                                  what components say to one another
    StreamSettings, ConsumerSettings, Delivery
                                  work that must be done: a stream, how it is handed out, one piece of it
    TaskContext, ToolContext      what an agent, and a tool, can do beside computing its result
    find_component, find_components_by_capability
                                  look other components up
    call_api, call_capability     find a component and call it
    Discovery                     a picture of the system that is kept current
    get_logger                    a logger whose records tell which component and which request they are of
    ComponentRegistry             which components exist, their state and what they can do
    ComponentRegistration         what a component says about itself
    ComponentState                the nine states of a component
    DependencyResolver            start orders and cycles of a dependency graph
    EnhancedStartUpCoordinator    starts components in dependency order
    HeartbeatMonitor              notices that a component has gone silent
    TektonConfig                  configuration files, environment and ports
    TektonError                   base of every error raised on purpose
    ProblemError                  an HTTP API has refused, for a reason that has no class of its own

They are loaded when first used: `import tekton` itself costs next to nothing.
"""

TYPE_CHECKING = False  # not typing's: importing that module would be most of the cost of this one

if TYPE_CHECKING:
    from tekton.a2a.task_steps import TaskContext as TaskContext
    from tekton.bus.bus import ConsumerSettings as ConsumerSettings
    from tekton.bus.bus import Delivery as Delivery
    from tekton.bus.bus import StreamSettings as StreamSettings
    from tekton.component import Component as Component
    from tekton.component import EventStream as EventStream
    from tekton.component import Request as Request
    from tekton.component import Response as Response
    from tekton.core.component_lifecycle import ComponentRegistry as ComponentRegistry
    from tekton.core.dependency import DependencyResolver as DependencyResolver
    from tekton.core.heartbeat_monitor import HeartbeatMonitor as HeartbeatMonitor
    from tekton.core.lifecycle import ComponentRegistration as ComponentRegistration
    from tekton.core.lifecycle import ComponentState as ComponentState
    from tekton.core.startup_coordinator import EnhancedStartUpCoordinator as EnhancedStartUpCoordinator
    from tekton.mcp.context import MessageContext as MessageContext
    from tekton.mcp.message import Message as Message
    from tekton.mcp.message import MessageType as MessageType
    from tekton.mcp.tool_context import ToolContext as ToolContext
    from tekton.utils.component_client import call_api as call_api
    from tekton.utils.component_client import call_capability as call_capability
    from tekton.utils.component_client import find_component as find_component
    from tekton.utils.component_client import find_components_by_capability as find_components_by_capability
    from tekton.utils.discovery import Discovery as Discovery
    from tekton.utils.tekton_config import TektonConfig as TektonConfig
    from tekton.utils.tekton_errors import ProblemError as ProblemError
    from tekton.utils.tekton_errors import TektonError as TektonError
    from tekton.utils.tekton_logging import get_logger as get_logger

    __version__: str

_HOMES = {
    "Component": "tekton.component",
    "ComponentRegistration": "tekton.core.lifecycle",
    "ComponentRegistry": "tekton.core.component_lifecycle",
    "ComponentState": "tekton.core.lifecycle",
    "ConsumerSettings": "tekton.bus.bus",
    "Delivery": "tekton.bus.bus",
    "DependencyResolver": "tekton.core.dependency",
    "Discovery": "tekton.utils.discovery",
    "EnhancedStartUpCoordinator": "tekton.core.startup_coordinator",
    "EventStream": "tekton.component",
    "HeartbeatMonitor": "tekton.core.heartbeat_monitor",
    "Message": "tekton.mcp.message",
    "MessageContext": "tekton.mcp.context",
    "MessageType": "tekton.mcp.message",
    "ProblemError": "tekton.utils.tekton_errors",
    "Request": "tekton.component",
    "Response": "tekton.component",
    "StreamSettings": "tekton.bus.bus",
    "TaskContext": "tekton.a2a.task_steps",
    "TektonConfig": "tekton.utils.tekton_config",
    "TektonError": "tekton.utils.tekton_errors",
    "ToolContext": "tekton.mcp.tool_context",
    "call_api": "tekton.utils.component_client",
    "call_capability": "tekton.utils.component_client",
    "find_component": "tekton.utils.component_client",
    "find_components_by_capability": "tekton.utils.component_client",
    "get_logger": "tekton.utils.tekton_logging",
}

__all__ = [
    "Component",
    "ComponentRegistration",
    "ComponentRegistry",
    "ComponentState",
    "ConsumerSettings",
    "Delivery",
    "DependencyResolver",
    "Discovery",
    "EnhancedStartUpCoordinator",
    "EventStream",
    "HeartbeatMonitor",
    "Message",
    "MessageContext",
    "MessageType",
    "ProblemError",
    "Request",
    "Response",
    "StreamSettings",
    "TaskContext",
    "TektonConfig",
    "TektonError",
    "ToolContext",
    "call_api",
    "call_capability",
    "find_component",
    "find_components_by_capability",
    "get_logger",
]

if not TYPE_CHECKING:  # a type checker must go on reporting names that do not exist

    def __getattr__(name):
        value = _load(name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES, "__version__"})

    def _load(name):
        if name == "__version__":
            from importlib.metadata import version

            return version("tekton-core")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
