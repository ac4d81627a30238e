"""Degraded mode: who serves the capabilities that have fallbacks, and what a failure would do to all others.

The configuration says who stands in for whom, the registry who can be used; who serves follows from both at any moment
and is kept nowhere. What is kept is who was told of last, so that the log has a line when that changes, and none while
the system comes up: a fallback that is there first stands in for nobody.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.capability_service import Fallback, Service, ServiceState, serve
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependents import WITHOUT
from tekton.core.impact import Impact, Part, impact_of
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.gateway.topics import Conflated
from tekton.service.views import NOT_SERVING
from tekton.utils.config_schema import BreakerSpec, FallbackSpec
from tekton.utils.tekton_config import ComponentSpec, TektonConfig

_logger = logging.getLogger("tekton.degradation")

_DEFAULT_BREAKER = BreakerSpec()


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """Who serves each capability that has fallbacks, and the breakers of those components that want others than all."""

    capabilities: list[Service]
    breakers: dict[str, BreakerSpec]


class CallSettings(msgspec.Struct, frozen=True):
    """What callers go by, beside the records: the fallbacks of each capability, and `breakers` as in `Degraded`."""

    fallbacks: dict[str, tuple[Fallback, ...]]
    breakers: dict[str, BreakerSpec]


class Degradation:
    """See the module. *config* is the configuration that holds, *specs* are the components that are supervised.

    *told* gets the `CallSettings`, too, each time that they change.
    """

    topic: Conflated
    """The `CallSettings`, and each time that they change, from `start` on."""

    def __init__(
        self,
        registry: ComponentRegistry,
        *,
        config: Callable[[], TektonConfig],
        specs: Callable[[], Mapping[str, ComponentSpec]],
        told: Callable[[CallSettings], object] = lambda _: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry = registry
        self._config = config
        self._specs = specs
        self._told_settings = told
        self._clock = clock
        self._chains = chains_of(config().fallbacks)
        self._told: dict[str, Service] = {}
        self._since: dict[str, float] = {}
        self._unlisten: Callable[[], None] | None = None
        self._published: CallSettings | None = None
        self.topic = Conflated()

    def start(self) -> None:
        """Begin to follow who serves. Starting twice does nothing more."""
        self.stop()
        self._unlisten = self._registry.feed.add_listener(self._on_change)
        self.adopt(self._config().fallbacks)

    def stop(self) -> None:
        """Follow no more. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()

    def adopt(self, fallbacks: Mapping[str, Iterable[FallbackSpec]]) -> None:
        """From now on *fallbacks* hold."""
        self._chains = chains_of(fallbacks)
        for capability in self._told.keys() - self._chains:
            del self._told[capability]
            self._since.pop(capability, None)
        for capability in self._chains:
            self._consider(capability)
        self.publish()

    def publish(self) -> None:
        """Tell callers what holds for them, if that has changed. Does nothing before `start`."""
        if self._unlisten is None:
            return
        settings = CallSettings(self._chains, self._own_breakers())
        if settings != self._published:
            self._published = settings
            self._told_settings(settings)
            self.topic.publish(settings)

    # What is known

    def all(self) -> Degraded:
        """Who serves what now, and the breakers."""
        offering = self._registry.capabilities()
        return Degraded(
            capabilities=[
                self._service(capability, self._primary(capability, offering)) for capability in self._chains
            ],
            breakers=self._own_breakers(),
        )

    def states(self) -> Iterator[tuple[str, ServiceState]]:
        """How each capability that has fallbacks is served."""
        return ((capability, self._served(capability).state) for capability in list(self._chains))

    def on_fallback(self) -> dict[str, str]:
        """Capability -> the fallback that serves it now."""
        found = ((capability, self._served(capability).fallback) for capability in self._chains)
        return {capability: one.component for capability, one in found if one is not None}

    def instances(self, capability: str) -> tuple[list[ComponentRecord], Fallback | None]:
        """The instances to call for *capability*: of the components that offer it, else of the one that stands in.

        Fallbacks that offer it themselves come last.
        """
        offering = self._registry.by_capability(capability)
        names = {one.component for one in self._chains.get(capability, ())}
        if not names:
            return offering, None
        fallback = self._served(capability).fallback
        if fallback is not None:
            return _discoverable(self._registry, fallback.component), fallback
        return sorted(offering, key=lambda record: record.component_id in names), None

    def services(self, component_id: str) -> list[Service]:
        """Who serves the capabilities with fallbacks that concern a component.

        It offers them, or is a fallback for them, or needs a component that does and cannot be used.
        """
        concerned = {*self._offered(component_id)}
        for need in self._missing(component_id):
            concerned |= {*self._offered(need)}
        offering = self._registry.capabilities()
        return [
            self._service(capability, self._primary(capability, offering))
            for capability, chain in self._chains.items()
            if capability in concerned or any(one.component == component_id for one in chain)
        ]

    def note(self, component_id: str) -> str | None:
        """What goes on without a component, for a list.

        Of one that cannot be used, `fallback: local_llm`; of one that is DEGRADED for want of such a dependency,
        `text_generation is served by local_llm`.
        """
        if names := dict.fromkeys(name for _, name in self._replaced(component_id)):
            return f"fallback: {', '.join(names)}"
        record = self._registry.find(component_id)
        if (
            record is None
            or record.state is not ComponentState.DEGRADED
            or not (record.reason or "").startswith(WITHOUT)
        ):
            return None
        replaced = dict(pair for need in self._missing(component_id) for pair in self._replaced(need))
        return ", ".join(f"{capability} is served by {name}" for capability, name in replaced.items()) or None

    def impact(self, component_id: str) -> Impact:
        """What would happen if the processes of a component were killed."""
        config = self._config()
        parts = parts_of(self._specs(), auto_recover=config.auto_recover, usable=lambda _: False)
        for record in self._registry.components():
            parts[record.component_id] = _with(record, parts.get(record.component_id))
        return impact_of(component_id, parts, self._chains)

    # Inside

    def _own_breakers(self) -> dict[str, BreakerSpec]:
        return {name: spec.breaker for name, spec in self._specs().items() if spec.breaker != _DEFAULT_BREAKER}

    def _missing(self, component_id: str) -> list[str]:
        """The dependencies of a component that cannot be used."""
        spec = self._specs().get(component_id)
        needs = () if spec is None else _needs(spec)
        return [need for need in needs if not _discoverable(self._registry, need)]

    def _replaced(self, component_id: str) -> list[tuple[str, str]]:
        """Each capability of the component for which somebody stands in, and who; none while it can be used itself."""
        if not self._chains or _discoverable(self._registry, component_id):
            return []
        found = [(capability, self._fallback(capability, component_id)) for capability in self._offered(component_id)]
        return [(capability, name) for capability, name in found if name is not None]

    def _fallback(self, capability: str, component_id: str) -> str | None:
        chain = self._chains.get(capability, ())
        if not chain or any(one.component == component_id for one in chain):
            return None
        fallback = self._served(capability).fallback
        return None if fallback is None else fallback.component

    def _offered(self, component_id: str) -> tuple[str, ...]:
        record = self._registry.find(component_id)
        if record is not None:
            return record.capabilities
        spec = self._specs().get(component_id)
        return () if spec is None else tuple(spec.capabilities)

    def _primary(self, capability: str, offering: Mapping[str, list[str]]) -> list[str]:
        configured = (name for name, spec in self._specs().items() if capability in spec.capabilities)
        return sorted({*offering.get(capability, ()), *configured})

    def _served(self, capability: str) -> Service:
        """As `_service`, with those alone that can be used."""
        offering = dict.fromkeys(record.component_id for record in self._registry.by_capability(capability))
        return self._service(capability, offering)

    def _service(self, capability: str, primary: Iterable[str]) -> Service:
        chain = self._chains[capability]
        able = {record.component_id for record in self._registry.by_capability(capability)}
        able |= {one.component for one in chain if _discoverable(self._registry, one.component)}
        since = self._since.get(capability)
        return msgspec.structs.replace(serve(capability, primary, chain, able.__contains__), since=since)

    def _on_change(self, change: Change) -> None:
        for capability in self._chains:
            if self._concerns(capability, change):
                self._consider(capability, change)

    def _concerns(self, capability: str, change: Change) -> bool:
        told = self._told.get(capability)
        return (
            capability in change.record.capabilities
            or (told is not None and change.component_id in told.served_by)
            or any(one.component == change.component_id for one in self._chains[capability])
        )

    def _consider(self, capability: str, change: Change | None = None) -> None:
        now, before = self._served(capability), self._told.get(capability)
        failed = change is not None and change.state is ComponentState.FAILED
        if before is None and now.state != "normal" and not failed:
            return
        self._told[capability] = now
        if before is None and now.state == "normal":
            return
        if before is None or before.served_by != now.served_by:
            self._since[capability] = self._clock.time()
        _tell(capability, before, now, change)


def chains_of(fallbacks: Mapping[str, Iterable[FallbackSpec]]) -> dict[str, tuple[Fallback, ...]]:
    """The chains of the configuration; a capability without any fallback has none."""
    chains = {
        capability: tuple(Fallback(one.component, one.parameters) for one in each)
        for capability, each in fallbacks.items()
    }
    return {capability: chain for capability, chain in chains.items() if chain}


def parts_of(
    specs: Mapping[str, ComponentSpec], *, auto_recover: bool, usable: Callable[[str], bool]
) -> dict[str, Part]:
    """What *specs* say of components, for `impact_of`."""
    return {
        name: Part(
            usable=usable(name),
            up=usable(name),
            capabilities=tuple(spec.capabilities),
            needs=_needs(spec),
            policy=spec.on_dependency_failure,
            comes_back=auto_recover and spec.restart.policy != "no",
        )
        for name, spec in specs.items()
    }


def _with(record: ComponentRecord, known: Part | None) -> Part:
    """What the registry knows of a component, and besides what the configuration does."""
    if known is None:
        known = Part(needs=record.dependencies, comes_back=False)
    return replace(known, usable=record.discoverable, up=record.usable, capabilities=record.capabilities)


def _needs(spec: ComponentSpec) -> tuple[str, ...]:
    """What a component needs while it runs."""
    return tuple(need.component for need in spec.dependencies if need.condition != "completed")


def _discoverable(registry: ComponentRegistry, component_id: str) -> list[ComponentRecord]:
    return [record for record in registry.instances(component_id) if record.discoverable]


def _tell(capability: str, before: Service | None, now: Service, change: Change | None) -> None:
    extra = {"capability": capability}
    why = _why(change)
    if now.state == "unavailable":
        if before is None or before.state != "unavailable":
            _logger.error("capability %s is served by nobody%s", capability, why, extra=extra)
    elif now.state == "fallback":
        if before is None or before.served_by != now.served_by:
            _logger.warning("capability %s is served by %s%s", capability, now.served_by[0], why, extra=extra)
    elif before is not None and before.state != "normal":
        _logger.info("capability %s is served by %s again", capability, ", ".join(now.served_by), extra=extra)


def _why(change: Change | None) -> str:
    if change is None or change.record.discoverable:
        return ""
    stands = NOT_SERVING if change.record.usable else f"is {change.state.value}"
    return f": {change.component_id} {stands}"
