"""What a component is, as its decorators say before it starts: routes, tools, handlers, agents, hooks, conditions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tekton.component.agents import AgentTable
from tekton.component.handlers import MessageTable
from tekton.component.readiness import Condition, Conditions
from tekton.component.routes import RouteTable
from tekton.component.tools import tool_routes
from tekton.core.lifecycle import ComponentRegistration
from tekton.gateway.asgi import AsgiApp
from tekton.gateway.mounts import Mount
from tekton.gateway.router import Route

_HookT = TypeVar("_HookT", bound=Callable[[], object])
_ConditionT = TypeVar("_ConditionT", bound=Condition)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What to call before the component becomes ready, and when it has stopped serving, in order of definition."""

    start: list[Callable[[], object]] = field(default_factory=list)
    stop: list[Callable[[], object]] = field(default_factory=list)


class Definition(RouteTable, MessageTable, AgentTable):
    """See the module. `registration` is what others are told of it. Numbers in `metrics` go with the heartbeats."""

    def __init__(self, registration: ComponentRegistration) -> None:
        RouteTable.__init__(self)
        MessageTable.__init__(self)
        AgentTable.__init__(self)
        self.registration = registration
        self.metrics: dict[str, float] = {}
        """Numbers that go with the heartbeats, to be changed at any time."""
        self.hooks = Hooks()
        self.conditions = Conditions(registration.component_id)

    @property
    def component_id(self) -> str:
        """The id of the component."""
        return self.registration.component_id

    @property
    def endpoint(self) -> str | None:
        """The base URL under which others reach it; None when it has never served."""
        return self.registration.endpoint

    def on_start(self, hook: _HookT) -> _HookT:
        """Call the decorated function before the component becomes ready. What it raises ends the start.

        Here, in `on_stop` and in `ready_when` a plain function runs in a thread.
        """
        self.hooks.start.append(hook)
        return hook

    def on_stop(self, hook: _HookT) -> _HookT:
        """Call the decorated function when the component has stopped serving; the one defined last comes first."""
        self.hooks.stop.append(hook)
        return hook

    def ready_when(self, condition: _ConditionT) -> _ConditionT:
        """The component is ready while the decorated function returns True.

        Until it does for the first time the component is not READY. Later on `/api/ready` tells, with 503 for False,
        and the control plane gives its address to nobody until it holds again.
        """
        self.conditions.add(condition)
        return condition

    def own_routes(self) -> list[Route]:
        """The routes that were defined, and those of the tools."""
        return [*self._routes, *tool_routes(self.tools, self._tool_permissions)]

    def mounts(self, behind: Callable[[AsgiApp, str], AsgiApp]) -> list[Mount]:
        """The applications that were mounted; *behind* is given each with its permission, and says what is served."""
        return [Mount(prefix, behind(app, needed), permission=needed) for prefix, app, needed in self._mounted]
