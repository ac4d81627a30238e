"""Tekton: the control plane for systems of AI components.

The names below are where a newcomer begins; everything else has its place in a module of its own.

    Component                     a served, registered component in a few lines
    find_component                look another component up in the control plane
    ComponentRegistry             which components exist, their state and what they can do
    ComponentRegistration         what a component says about itself
    ComponentState                the nine states of a component
    DependencyResolver            start orders and cycles of a dependency graph
    EnhancedStartUpCoordinator    starts components in dependency order
    HeartbeatMonitor              notices that a component has gone silent
    TektonConfig                  configuration files, environment and ports
    TektonError                   base of every error raised on purpose

They are loaded when first used: `import tekton` itself costs next to nothing.
"""

TYPE_CHECKING = False  # not typing's: importing that module would be most of the cost of this one

if TYPE_CHECKING:
    from tekton.component import Component as Component
    from tekton.core.component_lifecycle import ComponentRegistry as ComponentRegistry
    from tekton.core.dependency import DependencyResolver as DependencyResolver
    from tekton.core.heartbeat_monitor import HeartbeatMonitor as HeartbeatMonitor
    from tekton.core.lifecycle import ComponentRegistration as ComponentRegistration
    from tekton.core.lifecycle import ComponentState as ComponentState
    from tekton.core.startup_coordinator import EnhancedStartUpCoordinator as EnhancedStartUpCoordinator
    from tekton.utils.component_client import find_component as find_component
    from tekton.utils.tekton_config import TektonConfig as TektonConfig
    from tekton.utils.tekton_errors import TektonError as TektonError

    __version__: str

_HOMES = {
    "Component": "tekton.component",
    "ComponentRegistration": "tekton.core.lifecycle",
    "ComponentRegistry": "tekton.core.component_lifecycle",
    "ComponentState": "tekton.core.lifecycle",
    "DependencyResolver": "tekton.core.dependency",
    "EnhancedStartUpCoordinator": "tekton.core.startup_coordinator",
    "HeartbeatMonitor": "tekton.core.heartbeat_monitor",
    "TektonConfig": "tekton.utils.tekton_config",
    "TektonError": "tekton.utils.tekton_errors",
    "find_component": "tekton.utils.component_client",
}

__all__ = [
    "Component",
    "ComponentRegistration",
    "ComponentRegistry",
    "ComponentState",
    "DependencyResolver",
    "EnhancedStartUpCoordinator",
    "HeartbeatMonitor",
    "TektonConfig",
    "TektonError",
    "find_component",
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
