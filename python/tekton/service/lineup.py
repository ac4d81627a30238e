"""The line-up: which components there are and which of them start by themselves.

Those of the configuration, and those that were added while the system runs. Only `changes.py` changes it, and
`system.py` what is `scaled`.
"""

import dataclasses
from collections.abc import Mapping

import msgspec

from tekton.service.adhoc import AdHoc
from tekton.utils.config_components import ports_of, secrets_in
from tekton.utils.config_selection import Selection
from tekton.utils.redaction import redact
from tekton.utils.tekton_config import ComponentSpec, TektonConfig
from tekton.utils.tekton_errors import ConfigurationError, Mistake


class LineUp:
    """The components of *config*, of which *selection* starts by itself, and those in *adhoc*.

    `config` is what holds now: its components wait only for those that they are to wait for. `scaled` are the numbers
    of replicas that somebody has asked for, by component, until its configuration changes.
    """

    def __init__(self, config: TektonConfig, selection: Selection, adhoc: AdHoc) -> None:
        self.adhoc = adhoc
        self._selection = selection
        self.scaled: dict[str, int] = {}
        self.config = config
        self.adopt(config)

    @property
    def specs(self) -> Mapping[str, ComponentSpec]:
        """All of them by id."""
        return self.adhoc.specs | self.config.components

    def unscaled(self, spec: ComponentSpec) -> ComponentSpec:
        """*spec*, which runs, with the number of replicas that is configured, if somebody has asked for another."""
        configured = self.config.components.get(spec.name)
        if configured is None or self.scaled.get(spec.name) != spec.replicas:
            return spec
        return msgspec.structs.replace(spec, replicas=configured.replicas)

    def adopt(self, config: TektonConfig) -> None:
        """From now on *config* holds."""
        before, self.config = self.config.components, self.prepared(config)
        unchanged = {name for name, spec in self.config.components.items() if before.get(name) == spec}
        self.scaled = {name: number for name, number in self.scaled.items() if name in unchanged}
        self._selection = self._selection._replace(profiles=self.config.profiles)
        self._chosen = self._selection.names(self.config.components)

    def prepared(self, config: TektonConfig) -> TektonConfig:
        """*config* as it looks when it holds."""
        selection = self._selection._replace(profiles=config.profiles)
        return dataclasses.replace(config, components=selection.restrict(config.components))

    def starts(self, component_id: str) -> bool:
        """True for a component that starts by itself."""
        return component_id in self._chosen or component_id in self.adhoc.specs

    def why_not(self, component_id: str) -> str | None:
        """Why a component has not been started by itself; None for one that has."""
        spec = self.config.components.get(component_id)
        return None if spec is None or self.starts(component_id) else self._selection.why_not(spec)

    def groups(self, component_id: str) -> tuple[str, ...]:
        """The groups of a component."""
        spec = self.config.components.get(component_id) or self.adhoc.specs.get(component_id)
        return () if spec is None else tuple(spec.groups)

    def redact(self, text: str) -> str:
        """*text* without the secrets that the configuration and the added components hold."""
        added = {value for spec in self.adhoc.specs.values() for value in secrets_in(spec)}
        return redact(text, self.config.secrets | added)

    def ports(self, besides: str) -> dict[int, str]:
        """Who has which port, the component *besides* left out."""
        others = (spec for name, spec in self.specs.items() if name != besides)
        theirs = {port: spec.name for spec in others for port in ports_of(spec)}
        return {**theirs, self.config.port: "the control plane"}

    def refuse_clash(self, config: TektonConfig) -> None:
        """Raise ConfigurationError when a port in *config* is that of a component that was added."""
        mistakes = [
            Mistake(
                config.sources.get(f"components.{name}", "components.json"),
                *(0, 0, f"/components/{name}/port"),
                f"port {spec.port} of {name} is already that of {other.name}, which was added while the system runs",
                f"choose another port, or end {other.name}",
            )
            for name, spec in config.components.items()
            for other in self.adhoc.specs.values()
            if not set(ports_of(spec)).isdisjoint(ports_of(other)) and other.name not in config.components
        ]
        if mistakes:
            raise ConfigurationError(mistakes)
