"""Which Python names are public, and on which page of docs/reference/python/ each is described.

Public is what the specification imports (`tests/test_public_api.py`), what the examples of the documentation import,
and what is in the signatures of those.
"""

from dataclasses import dataclass

INTRODUCTION = """\
# Python API

Every public class and function: its signature, what its parameters mean, what it returns and what it raises. Whatever
is not here may change without notice. All durations are seconds (`float`), all instants seconds since 1970, all sizes
bytes, unless something else stands beside them. Types are in the package (`py.typed`).

What a component's author needs is in `tekton` itself; importing that alone loads nothing else.
The interface over HTTP is in [its own page](../http-api.md), what errors mean in [theirs](../errors.md).
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its file, title and introduction, and the names by the modules from which they are imported."""

    name: str
    title: str
    introduction: str
    modules: dict[str, list[str]]


PAGES = (
    Page(
        "component",
        "Components in Python",
        "A component, and what its handlers are given. How to write one: [writing components](../../components.md).",
        {
            "tekton.component": ["Component", "Request", "Response", "EventStream"],
            "tekton.component.auth": ["Auth"],
            "tekton.a2a.task_steps": ["TaskContext", "idempotency_key"],
            "tekton.mcp.tool_context": ["ToolContext", "Question", "Answer", "Progress", "LogLine", "Chunk"],
        },
    ),
    Page(
        "discovery",
        "Finding and calling components in Python",
        "Who else is there, and calls that find their way. Shown in [writing components]"
        "(../../components.md#finding-and-calling-others).",
        {
            "tekton.utils.component_client": [
                "find_component",
                "find_components_by_capability",
                "call_api",
                "call_capability",
                "ComponentClient",
                "CallHook",
                "ControlPlane",
            ],
            "tekton.utils.discovery": ["Discovery", "open_discovery"],
            "tekton.utils.tekton_registration": ["Registration", "register_component", "deregister_component"],
            "tekton.utils.tekton_websocket": ["WebSocketClient", "Snapshot", "Lost", "Resumed", "CallSettings"],
            "tekton.utils.tekton_http": ["construct_url", "HttpClient", "Answer"],
        },
    ),
    Page(
        "bus",
        "The bus in Python",
        "Publishing, subscribing, asking and streams. What each promises: [messages](../../concepts/messages.md).",
        {
            "tekton.bus.bus": [
                "Bus",
                "Subscription",
                "Consumption",
                "Delivery",
                "Receipt",
                "Policy",
                "Limits",
                "StreamSettings",
                "ConsumerSettings",
                "StreamInfo",
                "ConsumerInfo",
            ],
            "tekton.bus.envelope": ["Envelope"],
            "tekton.utils.bus_client": ["BusClient"],
            "tekton.bus.local_bus": ["LocalBus"],
        },
    ),
    Page(
        "messages",
        "Messages and tools in Python",
        "Messages, what is in them, and who handles them: [messages](../../concepts/messages.md).",
        {
            "tekton.mcp.message": ["Message", "MessageType"],
            "tekton.mcp.context": ["MessageContext"],
            "tekton.mcp.modality": [
                "TextContent",
                "CodeContent",
                "ImageContent",
                "StructuredContent",
                "Reference",
                "Content",
                "parse_content",
            ],
            "tekton.mcp.processor": ["MessageProcessor", "MessageHandler", "Middleware", "Next"],
            "tekton.mcp.error_message": ["error_of", "error_content"],
            "tekton.mcp.tool_registry": ["ToolRegistry", "ToolChange", "ToolResult"],
            "tekton.mcp.tool": ["Tool"],
        },
    ),
    Page(
        "agents",
        "Agents in Python",
        "Who can do what: [agents](../../concepts/agents.md), in one process; a system offers the same by its port.",
        {
            "tekton.a2a.agent": ["Agent", "AgentHealth", "Locality", "Skill"],
            "tekton.a2a.agent_registry": ["AgentRegistry", "AgentChange"],
            "tekton.a2a.discovery": ["AgentDiscovery", "AgentQuery"],
            "tekton.utils.remote_agents": ["RemoteAgents", "RemoteAgent", "Credential", "CallLimits"],
            "tekton.utils.address_policy": ["AddressPolicy"],
        },
    ),
    Page(
        "tasks",
        "Tasks and conversations in Python",
        "Having agents do something, and what they say to one another: "
        "[tasks](../../concepts/agents.md), [the events of a task](../task-events.md).",
        {
            "tekton.a2a.message": ["AgentMessage"],
            "tekton.a2a.conversation": ["Conversation", "Entry", "HistoryPage", "Summarizer"],
            "tekton.a2a.task_manager": ["TaskManager", "Subtask", "TaskChange", "TaskQuery"],
            "tekton.a2a.task": ["Task", "TaskState"],
        },
    ),
    Page(
        "lifecycle",
        "Registry and lifecycle in Python",
        "What a control plane knows of components: [the lifecycle](../../concepts/lifecycle.md).",
        {
            "tekton.core.lifecycle": [
                "ComponentRegistration",
                "ComponentState",
                "ComponentRecord",
                "VALID_TRANSITIONS",
            ],
            "tekton.core.component_lifecycle": ["ComponentRegistry", "Registered", "Result", "Page"],
            "tekton.core.heartbeat_monitor": ["HeartbeatMonitor", "ComponentHeartbeat", "HeartbeatReply"],
        },
    ),
    Page(
        "start-up",
        "Starting components in Python",
        "The coordinator, dependencies, readiness and health: [starting components](../start-up.md).",
        {
            "tekton.core.component_lifecycle.readiness": ["ReadinessCondition", "all_of", "any_of"],
            "tekton.core.dependency": ["DependencyResolver", "Dependency"],
            "tekton.core.startup_coordinator": [
                "EnhancedStartUpCoordinator",
                "ComponentConfig",
                "StartFunction",
                "StartResult",
                "Health",
                "HealthCheck",
                "Why",
            ],
        },
    ),
    Page(
        "degradation",
        "Degraded operation in Python",
        "Breakers, fallbacks, limits, retries: [degraded operation](../../concepts/degradation.md).",
        {
            "tekton.core.graceful_degradation": [
                "GracefulDegradationManager",
                "CircuitBreaker",
                "BreakerSettings",
                "BreakerState",
                "BreakerEvent",
                "Transition",
                "Retries",
                "Fallback",
                "CapabilityStatus",
                "ServiceChange",
            ],
        },
    ),
    Page(
        "monitoring",
        "Metrics, resources, logs and traces in Python",
        "What a program tells of itself: [metrics](../metrics.md), [resources](../resources.md), "
        "[logging](../logging.md), [tracing](../tracing.md).",
        {
            "tekton.core.metrics.metrics": [
                "MetricsManager",
                "Metric",
                "MetricType",
                "MetricValues",
                "MetricValue",
                "Distribution",
                "Counter",
                "Gauge",
                "Histogram",
                "Summary",
                "Reading",
            ],
            "tekton.core.resource_monitor": ["ResourceMonitor", "ResourceSample", "ThresholdRegistration", "Verdict"],
            "tekton.utils.tekton_logging": [
                "get_logger",
                "configure_logging",
                "bound",
                "set_level",
                "levels",
                "flush_logging",
                "JSONFormatter",
                "TextFormatter",
            ],
            "tekton.core.tracing": ["span", "OpenSpan", "Tracer"],
        },
    ),
    Page(
        "configuration",
        "Configuration and access in Python",
        "Settings, tokens and roles: [configuration](../configuration.md), [tokens and roles](../auth.md).",
        {
            "tekton.utils.tekton_config": [
                "TektonConfig",
                "ShownSetting",
                "ComponentEnvironment",
                "ComponentPlace",
                "ComponentSpec",
                "DependencySpec",
                "ProbeSpec",
                "RestartSpec",
                "RoleSpec",
                "StreamSpec",
                "FallbackSpec",
                "BreakerSpec",
            ],
            "tekton.utils.tekton_auth": ["generate_token", "verify_token", "check_permission"],
            "tekton.auth.roles": ["Role", "RoleTable", "Grants"],
            "tekton.clock": ["Clock", "SYSTEM_CLOCK"],
        },
    ),
    Page(
        "errors",
        "Errors in Python",
        "What is raised on purpose. Each error carries its fields as attributes, and builds its own sentence of "
        "them. What each code means, and what to do, is in [errors](../errors.md).",
        {"tekton.utils.tekton_errors": ["TektonError", "ProblemError", "Mistake"]},
    ),
    Page(
        "testing",
        "Testing in Python",
        "Doubles, faults and virtual time: [testing components](../../testing.md).",
        {
            "tekton.testing": [
                "InMemorySystem",
                "Faults",
                "InjectedFault",
                "Transition",
                "virtual_time",
                "VirtualTimeLoop",
                "ManualClock",
                "current_clock",
                "free_port",
            ],
            "tekton.testing.control_plane": ["InMemoryControlPlane"],
            "tekton.testing.history": ["History", "Operation"],
            "tekton.testing.linearizability": ["check", "Model", "Violation"],
            "tekton.testing.component_model": ["ComponentModel"],
            "tekton.testing.simulation": ["simulate", "Report"],
            "tekton.testing.simulated_core": ["SimulatedCore"],
        },
    ),
)
