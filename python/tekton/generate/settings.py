"""What the control plane reads in a container of its own: all of the configuration but the components.

The engine runs those, so the control plane must not find them. Of components.json it gets a copy with the fallbacks
alone; tekton.json and security.json are as they are.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tekton.generate.variables import references
from tekton.utils.tekton_config import ComponentSpec, TektonConfig

PLACE = "/etc/tekton"
COMPONENTS = "components.json"

_PATHS = ("tls_cert", "tls_key", "tls_client_ca", "agent_card_keys", "audit_heads")
_OWN = frozenset({"HOME", "PATH"})
"""Variables that every container has, and not from whoever starts it."""
_ONLY_TEKTON = ("user", "on_dependency_failure", "breaker", "constraints", "log")
"""What of a component nobody but Tekton can do, and only for one that it has started."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The files of the control plane, as they are to lie in PLACE: texts by name.

    `made` is the one of them that is made here; the others lie in the folder of the configuration. `variables` are
    those that the files leave open, with their defaults (None: there is none). `paths` are the settings that name
    further files. `left` is what of the components has to be left behind, and of which.
    """

    files: Mapping[str, str]
    made: str | None
    variables: Mapping[str, str | None]
    paths: tuple[str, ...]
    left: Mapping[str, tuple[str, ...]]

    @property
    def named(self) -> str:
        """What TEKTON_CONFIG_FILE names; the others are found beside it. Only where there are files."""
        return f"{PLACE}/{next(iter(self.files))}"

    @property
    def secret(self) -> bool:
        """True when there may be a secret in one of the files."""
        return any("secret" in text for text in self.files.values())

    def notes(self) -> Iterator[str]:
        """What whoever deploys it has to know, a sentence each."""
        if self.paths:
            yield f"The control plane needs files that are not mounted here, for {', '.join(self.paths)}."
        if "security.tls_cert" in self.paths:
            yield "It speaks TLS then: probes need `scheme: HTTPS`, and components a TEKTON_URL that begins with https."
        if self.left:
            whose = ", ".join(f"{name} ({', '.join(components)})" for name, components in self.left.items())
            yield f"Not taken over, since only Tekton does it, for components that it runs itself: {whose}."


def settings(config: TektonConfig, fallbacks: Mapping[str, object]) -> Settings:
    """What *config* says to the control plane. *fallbacks* are as they are written."""
    found = {path.name: path.read_text("utf-8") for path in (config.files.main, config.files.security) if path}
    made = COMPONENTS if fallbacks or (found and config.files.main is None) else None
    if made is not None:
        alone = json.dumps({"components": {}, **({"fallbacks": fallbacks} if fallbacks else {})}, indent=2) + "\n"
        # The first is the one that is named: security.json is not a file that others are found beside.
        found = found | {made: alone} if config.files.main is not None else {made: alone} | found
    return Settings(
        files=found,
        made=made,
        variables={name: default for text in found.values() for name, default in references(text) if name not in _OWN},
        paths=tuple(f"security.{name}" for name in _PATHS if _is_written(config, name)),
        left=_left(config.components),
    )


def _is_written(config: TektonConfig, name: str) -> bool:
    path: Path | None = getattr(config, name)
    source = config.sources[f"tekton.security.{name}"]
    return path is not None and not source.startswith(("env ", "command line", "default"))


def _left(components: Mapping[str, ComponentSpec]) -> dict[str, tuple[str, ...]]:
    plain = ComponentSpec(name="", command=[])
    found = {
        what: tuple(name for name, spec in components.items() if getattr(spec, what) != getattr(plain, what))
        for what in _ONLY_TEKTON
    }
    return {what: names for what, names in found.items() if names}
