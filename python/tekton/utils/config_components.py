"""The supervised components: from the entries of components.json and dependencies.json to what the supervisor runs."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_files import read_env_file
from tekton.utils.config_places import absolute_path
from tekton.utils.config_rules import MIN_SIZE_BYTES, OWN_SUBJECTS, parse_size
from tekton.utils.config_schema import (
    CONTROL_PLANE,
    PROBES,
    REPEATABLE_PROBES,
    BreakerSpec,
    ComponentEntry,
    ConstraintSpec,
    DependencySpec,
    LimitSpec,
    ProbeSpec,
    RestartSpec,
)
from tekton.utils.json_document import child_pointer
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_errors import Mistake


class LogRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log of more than `max_size` bytes is rotated; `keep` older files stay."""

    max_size: Annotated[int, msgspec.Meta(ge=MIN_SIZE_BYTES)] = 64 * 1024 * 1024
    keep: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that a component may use; None is no limit. `memory` is in bytes."""

    open_files: Annotated[int, msgspec.Meta(ge=16)] | None = None
    processes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    memory: Annotated[int, msgspec.Meta(ge=MIN_SIZE_BYTES)] | None = None


class ComponentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised component, complete: every default is filled in and every path is absolute.

    `env` holds the variables of its `env_file` too. `name` is the component id, `component_name` what people read.
    `ready` None means that it is ready once it runs (and `startup` has succeeded, if there is one). Times are in
    seconds. `constraints` holds the limits that were given, by name. Its `repr` shows no contents, because `env` and
    `command` may hold secrets.
    """

    name: str
    command: list[str]
    env: dict[str, str] = {}
    cwd: str = "."
    user: str | None = None
    limits: ResourceLimits = ResourceLimits()
    log: LogRotation = LogRotation()
    port: int | None = None
    dependencies: list[DependencySpec] = []
    capabilities: list[str] = []
    startup: ProbeSpec | None = None
    ready: ProbeSpec | None = None
    liveness: ProbeSpec | None = None
    on_dependency_failure: Literal["keep", "degrade", "restart"] = "keep"
    start_timeout: float = 60.0
    stop_timeout: float = 10.0
    drain: float = 0.0
    replicas: int = 1
    restart: RestartSpec = RestartSpec()
    breaker: BreakerSpec = BreakerSpec()
    constraints: dict[str, float] = {}
    profiles: list[str] = []
    groups: list[str] = []
    version: str = "0.0.0"
    component_type: str = "service"
    component_name: str = ""
    metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"ComponentSpec(name={self.name!r})"


_STARTUP_PROBES = tuple(kind for kind in PROBES if kind != "heartbeat")
_UNFIT = {
    "log": "a line that was written once does not show that the component is alive",
    "heartbeat": "only `ready` can be reported by the component itself",
}


@dataclass
class ComponentBuilder:
    """Builds specs, and collects what is wrong with them in *checker* (mistakes of env files in `mistakes`)."""

    checker: Checker
    directory: Path
    home: Path
    start_timeout: float
    mistakes: list[Mistake]

    def build(
        self, name: str, entry: ComponentEntry, port: int | None, dependencies: Sequence[DependencySpec]
    ) -> ComponentSpec:
        """The spec of one component; where its entry is wrong, the spec is incomplete and mistakes are recorded."""
        pointer = f"/components/{name}"
        if name in CONTROL_PLANE:
            self._report(pointer, f"{name!r} is the control plane itself; a component needs another name", at_key=True)
        elif name in OWN_SUBJECTS:
            self._report(pointer, f"{name!r} is whom Tekton calls so; a component needs another name", at_key=True)
        self._check_probe(f"{pointer}/startup", entry.startup, port, _STARTUP_PROBES)
        self._check_probe(f"{pointer}/ready", entry.ready, port, PROBES)
        self._check_probe(f"{pointer}/liveness", entry.liveness, port, REPEATABLE_PROBES)
        self._check_breaker(f"{pointer}/breaker", entry.breaker)
        return ComponentSpec(
            name=name,
            command=self._command(pointer, entry.command),
            env=self._environment(pointer, entry) | entry.env,
            cwd=absolute_path(entry.cwd, self.directory, self.home),
            user=entry.user,
            limits=_in_bytes(entry.limits),
            log=LogRotation(max_size=parse_size(entry.log.max_size), keep=entry.log.keep),
            port=port,
            dependencies=list(dependencies),
            capabilities=list(dict.fromkeys(entry.capabilities)),
            startup=entry.startup,
            ready=entry.ready,
            liveness=entry.liveness,
            on_dependency_failure=entry.on_dependency_failure,
            start_timeout=self.start_timeout if entry.start_timeout is None else entry.start_timeout,
            stop_timeout=entry.stop_timeout,
            drain=entry.drain,
            replicas=entry.replicas,
            restart=entry.restart,
            breaker=entry.breaker,
            constraints=_given_limits(entry.constraints),
            profiles=entry.profiles,
            groups=entry.groups,
            version=entry.version,
            component_type=entry.type,
            component_name=entry.name or name,
            metadata=entry.metadata,
        )

    def _check_probe(self, pointer: str, probe: ProbeSpec | None, port: int | None, allowed: Sequence[str]) -> None:
        if probe is None or not self.checker.clean(pointer):
            return
        given = [kind for kind in PROBES if getattr(probe, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            self._report(pointer, f"{dotted(pointer)} needs exactly one of {', '.join(allowed)}; found {found}")
            return
        where = f"{pointer}/{given[0]}"
        if given[0] not in allowed:
            self._report(where, f"{dotted(where)}: {_UNFIT[given[0]]}", f"use one of {', '.join(allowed)}", at_key=True)
        elif port is None and (probe.tcp is True or (probe.http or "").startswith("/")):
            self._report(where, f"{dotted(where)}: the component has no port", "give it a 'port'")

    def _check_breaker(self, pointer: str, breaker: BreakerSpec) -> None:
        too_small = breaker.window_seconds is None and breaker.window_calls < breaker.minimum_calls
        if too_small and self.checker.document.find(pointer) is not None and self.checker.clean(pointer):
            self._report(pointer, f"{dotted(pointer)}: window_calls is less than minimum_calls, so no share counts")

    def _command(self, pointer: str, command: str | list[str]) -> list[str]:
        where = f"{pointer}/command"
        try:
            words = shlex.split(command) if isinstance(command, str) else command
        except ValueError:
            self._report(where, f"{dotted(where)}: a quotation mark is not closed", "write it as a list of strings")
            return []
        if not words or not words[0]:
            self._report(where, f"{dotted(where)}: names no program")
        return list(words)

    def _environment(self, pointer: str, entry: ComponentEntry) -> dict[str, str]:
        names = [entry.env_file] if isinstance(entry.env_file, str) else entry.env_file
        variables: dict[str, str] = {}
        for name in names:
            path = Path(absolute_path(name, self.directory, self.home))
            if path.is_file():
                found, mistakes = read_env_file(path, name)
                variables |= found
                self.mistakes += mistakes
            else:
                self._report(f"{pointer}/env_file", f"{dotted(pointer)}.env_file: no such file: {path}")
        return variables

    def _report(self, pointer: str, problem: str, suggestion: str | None = None, *, at_key: bool = False) -> None:
        node = self.checker.document.find(pointer)
        assert node is not None, pointer
        self.checker.report(node, problem, suggestion, at_key=at_key)


def ports_of(spec: ComponentSpec) -> range:
    """The ports of its replicas; none without a port."""
    return range(0) if not spec.port else range(spec.port, spec.port + spec.replicas)


def secrets_in(spec: ComponentSpec) -> list[str]:
    """The values in its environment that must not be shown."""
    return [value for name, value in spec.env.items() if value and is_secret_name(name)]


def _given_limits(constraints: ConstraintSpec) -> dict[str, float]:
    return {name: limit for name, limit in msgspec.structs.asdict(constraints).items() if limit is not None}


def _in_bytes(limits: LimitSpec) -> ResourceLimits:
    memory = None if limits.memory is None else parse_size(limits.memory)
    return ResourceLimits(open_files=limits.open_files, processes=limits.processes, memory=memory)


def merge_dependencies(
    first: Mapping[str, Sequence[str | DependencySpec]],
    first_checker: Checker,
    second: Mapping[str, Sequence[str | DependencySpec]],
    second_checker: Checker,
) -> dict[str, list[DependencySpec]]:
    """The dependencies by component of components.json (*first*) and dependencies.json (*second*) together.

    The same dependency under two conditions is a contradiction: a mistake of the place that is read later.
    """
    merged: dict[str, dict[str, DependencySpec]] = {}
    for table, checker, pattern in (
        (first, first_checker, "/components/{}/dependencies"),
        (second, second_checker, "/dependencies/{}"),
    ):
        for name, dependencies in table.items():
            known = merged.setdefault(name, {})
            for position, dependency in enumerate(map(_dependency, dependencies)):
                earlier = known.setdefault(dependency.component, dependency)
                if earlier.condition != dependency.condition:
                    pointer = child_pointer(pattern.format(name), position)
                    _report_contradiction(checker, pointer, name, dependency, earlier)
    return {name: list(known.values()) for name, known in merged.items()}


def _dependency(entry: str | DependencySpec) -> DependencySpec:
    return DependencySpec(component=entry) if isinstance(entry, str) else entry


def _report_contradiction(
    checker: Checker, pointer: str, name: str, dependency: DependencySpec, earlier: DependencySpec
) -> None:
    node = checker.document.find(pointer)
    if node is not None:
        problem = (
            f"{name} waits for {dependency.component} to be {dependency.condition} here, "
            f"and to be {earlier.condition} elsewhere"
        )
        checker.report(node, problem, "keep one of the two conditions")
