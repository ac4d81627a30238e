"""The tools of the components, as long as they can be called: `<component>.<tool>`, and calls of them.

    tool = tools.find("greeter.greet")          # or "greet", where only one component has one of that name
    result = await tools.call(tool, {"name": "Ada"}, OnBehalf(principal, is_local=True))

What a component offers is in its registration (`core.offered_tools`), and so in the registry: nobody is asked for it, a
restart of either side loses nothing, and what a registration repeated with other tools says holds at once. A tool is
there while one instance that offers it is READY or DEGRADED and takes traffic; of several the description of the best
one counts, and calls go to those that offer it.

All calls end in `ToolRegistry.execute`. From there they go to an instance as calls between components do
(`utils.calls`: balanced, behind a circuit breaker, tried again where that does no harm, within one deadline, in one
trace), to `POST {endpoint}/api/tools/<tool>`. Three things are different, because whoever registers says where that is,
and because the call is somebody else's:

* It goes only where an address may be called (`callbacks.tool_policy`): of this machine, to ports at which components
  that offer tools say to be, if the control plane serves this machine only or runs them itself, and never to its own.
* It says on whose behalf it is made, and lends nobody our rights (`caller_passes`).
* Whatever is answered is an error of the tool or a result: redirects, garbage, more than a megabyte, nothing for too
  long. Of a problem document, only what the caller can use is passed on.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.bulkhead import Bulkhead
from tekton.core.degradation.deadline import time_left
from tekton.core.idempotency import current_claim
from tekton.core.lifecycle import Change, ComponentRecord
from tekton.core.offered_tools import OfferedTool
from tekton.gateway.tool_calls import MAX_STREAM
from tekton.mcp.tool import Tool, ToolLimits
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_registry import ToolRegistry
from tekton.mcp.tool_result import ToolResult
from tekton.service.callbacks import is_local, offering_ports, tool_policy
from tekton.service.caller_passes import SOMEBODY, CallerPasses, OnBehalf
from tekton.service.security import Security
from tekton.service.tool_answers import hear, reported, result_in
from tekton.service.tool_meter import ToolMeter
from tekton.utils.breakers import Breakers
from tekton.utils.calls import Call, Caller
from tekton.utils.config_schema import BreakerSpec
from tekton.utils.guarded_client import GuardedClient
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import (
    AmbiguousToolError,
    BulkheadFullError,
    NoUsableInstanceError,
    ProblemError,
    TektonError,
    ToolBusyError,
    ToolNotFoundError,
)
from tekton.utils.tekton_ids import nearest_name

MAX_ANSWER: Final = 1024 * 1024 + 4096
"""Bytes that a component may answer: a result, and what stands around it."""
AT_ONCE: Final = 256
"""Calls that are under way at the same time, of all tools together."""
SHARE: Final = AT_ONCE // 4
"""Those of one component: so tools that never answer leave the others something."""
_COMPARED: Final = 2000
"""So many names are looked at for the one that was meant."""
_INTERNAL: Final = 500


_logger = logging.getLogger("tekton.tools")


@dataclass(frozen=True, slots=True)
class _Asking:
    """Who makes the call that the running task belongs to, and whether he hears what the tool says."""

    on_behalf: OnBehalf
    hears: bool = False


_asking: ContextVar[_Asking] = ContextVar("tekton_asking", default=_Asking(SOMEBODY))  # noqa: B039 - it is frozen


class ComponentTools:
    """See the module. Learns from `start` to `stop` what is offered."""

    def __init__(
        self,
        registry: ComponentRegistry,
        security: Security,
        config: TektonConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.registry = ToolRegistry(clock=clock)
        self.meter = ToolMeter(clock)
        self._components = registry
        self._passes = CallerPasses(security)
        self._trusts_machine = is_local(config)
        self._own_ports = {config.port, config.ops_port, config.metrics_port}
        self._breakers = _Breakers(clock=clock)
        http = GuardedHttp(tool_policy(config, self._local_ports), max_answer=MAX_ANSWER, at_once=AT_ONCE)
        transport = GuardedClient(http, max_stream=MAX_STREAM, max_event=MAX_ANSWER)
        self._caller = Caller(hook=self._breakers, transport=transport)
        self._offered: dict[str, dict[str, OfferedTool]] = {}
        self._places: dict[str, Bulkhead] = {}
        self._by_name: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._ports: frozenset[int] | None = None
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to follow what is offered. Starting twice does nothing more."""
        if self._unlisten is None:
            self._unlisten = self._components.feed.add_listener(self._on_change)
            for record in self._components.all_instances():
                if record.offered:
                    self._consider(record.component_id)

    async def stop(self) -> None:
        """Follow no more, and end the calls that are under way. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()
        await self.registry.close()
        await self._caller.close()

    def adopt(self, breakers: Mapping[str, BreakerSpec]) -> None:
        """From now on these are the circuit breakers of components that want others than all."""
        self._breakers.adopt({component_id: _settings(spec) for component_id, spec in breakers.items()})

    def keep_from(self, *ports: int) -> None:
        """*ports* of this machine are our own: no call goes there."""
        self._own_ports.update(ports)
        self._ports = None

    def find(self, tool_id: str) -> Tool:
        """The tool `<component>.<tool>`, or the only one that is called so in its component, if that has no dots.

        Raises ToolNotFoundError, and AmbiguousToolError, which names them.
        """
        tool = self.registry.find(tool_id)
        if tool is not None:
            return tool
        # `shop.place` is never the tool `shop.place` of somebody else, who would get the calls while shop is away.
        found = [] if "." in tool_id else list(self._by_name.get(tool_id, ()))
        if len(found) > 1:
            raise AmbiguousToolError(tool_id, sorted(found))
        if not found:
            raise ToolNotFoundError(tool_id, self._nearest(tool_id))
        return self.registry.get(found[0])

    def instances(self, tool: Tool) -> list[ComponentRecord]:
        """Those that offer *tool*, whether or not they can be called now."""
        return self._offering(str(tool.source), _name_of(tool))

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        on_behalf: OnBehalf,
        *,
        timeout: float | None = None,
        context: ToolContext | None = None,
        hears: bool = False,
    ) -> ToolResult:
        """Call *tool* as `ToolRegistry.execute` does, which says what is raised. *hears*: *context* hears what it says.

        Raises also NoUsableInstanceError, CircuitOpenError, and what the component refuses with.
        """
        token = _asking.set(_Asking(on_behalf, hears))
        try:
            with self.meter.call(tool.name):
                await self._claim(tool)
                return await self.registry.execute(tool.name, arguments, timeout=timeout, context=context)
        finally:
            _asking.reset(token)

    async def _claim(self, tool: Tool) -> None:
        """Have the key of the request on the disk, if it has one: a call that may have been made is not made again."""
        claim = current_claim()
        if claim is not None and any(record.discoverable for record in self.instances(tool)):
            await self._components.idempotency_keys.writer.keep_key(claim)

    # What is offered

    def _on_change(self, change: Change) -> None:
        record = change.record
        self._breakers.observed(record, gone=change.kind == "deregistered")
        if record.offered or change.component_id in self._offered:
            self._consider(change.component_id)

    def _consider(self, component_id: str) -> None:
        self._ports = None
        before = self._offered.pop(component_id, {})
        now: dict[str, OfferedTool] = {}
        for record in self._components.instances(component_id):
            if record.discoverable and record.endpoint:
                for offered in record.offered:
                    now.setdefault(offered.name, offered)
        if now:
            self._offered[component_id] = now
            self._places.setdefault(component_id, Bulkhead(component_id, SHARE, max_waiting=2 * SHARE))
        else:
            self._places.pop(component_id, None)
        for name in before.keys() - now.keys():
            self._withdraw(component_id, name)
        for name, offered in now.items():
            if before.get(name) != offered:
                self._offer(component_id, offered)

    def _offer(self, component_id: str, offered: OfferedTool) -> None:
        tool = Tool.remote(
            f"{component_id}.{offered.name}",
            offered.description,
            partial(self._ask, component_id, offered),
            source=component_id,
            input_schema=offered.input_schema,
            output_schema=offered.output_schema,
            limits=ToolLimits(timeout=offered.timeout, max_concurrent=SHARE),
            annotations=offered.annotations,
        )
        known = self.registry.find(tool.name)
        if known is not None and known.source != component_id:
            _logger.warning("%s offers the tool %s, which is somebody else's", component_id, tool.name)
            return
        self.registry.add(tool, replace=True)
        self._by_name[offered.name][tool.name] = None

    def _withdraw(self, component_id: str, name: str) -> None:
        tool_id = f"{component_id}.{name}"
        if tool_id not in self._by_name.get(name, ()):
            return
        self.registry.unregister_tool(tool_id)
        del self._by_name[name][tool_id]
        if not self._by_name[name]:
            del self._by_name[name]

    def _nearest(self, tool_id: str) -> str | None:
        # To look at very many of them takes long, and who mistypes means one of the few that he knows.
        names: Iterable[str] = chain(self.registry, self._by_name)
        return nearest_name(tool_id[:255], islice(names, _COMPARED))

    def _local_ports(self) -> frozenset[int]:
        if self._ports is None:
            records = [record for name in self._offered for record in self._components.instances(name)]
            self._ports = offering_ports(records, trusts_machine=self._trusts_machine, own=self._own_ports)
        return self._ports

    # Calling

    async def _ask(
        self, component_id: str, offered: OfferedTool, arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        places = self._places.get(component_id) or Bulkhead(component_id)
        try:
            slot = await places.enter()
        except BulkheadFullError as error:
            raise ToolBusyError(context.tool_id, SHARE, places.waiting) from error
        try:
            return await self._ask_instance(component_id, offered, arguments, context)
        finally:
            slot.release()

    async def _ask_instance(
        self, component_id: str, offered: OfferedTool, arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        asking, limit = _asking.get(), time_left()
        call = Call(
            "POST",
            f"/api/tools/{offered.name}",
            arguments,
            headers=await self._passes.headers(asking.on_behalf, component_id),
            harmless=offered.harmless,
            heard=partial(hear, context) if asking.hears else None,
        )
        instances = partial(self._offering, component_id, offered.name)
        try:
            answer = await self._caller.call(component_id, instances, call, limit)
        except NoUsableInstanceError:
            raise
        except TektonError as error:
            raise reported(context.tool_id, error, limit) from error
        return result_in(context.tool_id, answer)

    def _offering(self, component_id: str, name: str) -> list[ComponentRecord]:
        return [
            record
            for record in self._components.instances(component_id)
            if any(offered.name == name for offered in record.offered)
        ]


class _Breakers(Breakers):
    """A tool that fails (500) has been reached, and its component is none to be left alone for it."""

    def after(self, instance: ComponentRecord, error: BaseException | None) -> None:
        """See `CallHook`."""
        failed = error is not None and not (isinstance(error, ProblemError) and error.status == _INTERNAL)
        super().after(instance, error if failed else None)


def _settings(spec: BreakerSpec) -> BreakerSettings | None:
    if not spec.enabled:
        return None
    return BreakerSettings(**{name: getattr(spec, name) for name in BreakerSettings.__struct_fields__})


def _name_of(tool: Tool) -> str:
    return tool.name.partition(".")[2]
