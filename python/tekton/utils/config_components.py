"""The supervised components: from the entries of components.json and dependencies.json to what the supervisor runs."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_files import read_env_file
from tekton.utils.config_schema import (
    CONTROL_PLANE,
    PROBES,
    ComponentEntry,
    ConstraintSpec,
    DependencySpec,
    ReadySpec,
    RestartSpec,
)
from tekton.utils.json_document import child_pointer
from tekton.utils.tekton_errors import Mistake


class ComponentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised component, complete: every default is filled in and every path is absolute.

    `env` holds the variables of its `env_file` too. `name` is the component id, `component_name` what people read.
    `ready` None means that it is ready once it runs. Times are in seconds. `constraints` holds the limits that were
    given, by name. Its `repr` shows no contents, because `env` and `command` may hold secrets.
    """

    name: str
    command: list[str]
    env: dict[str, str] = {}
    cwd: str = "."
    port: int | None = None
    dependencies: list[DependencySpec] = []
    capabilities: list[str] = []
    ready: ReadySpec | None = None
    start_timeout: float = 60.0
    stop_timeout: float = 10.0
    restart: RestartSpec = RestartSpec()
    constraints: dict[str, float] = {}
    version: str = "0.0.0"
    component_type: str = "service"
    component_name: str = ""
    metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"ComponentSpec(name={self.name!r})"


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
        if entry.ready is not None and self.checker.clean(f"{pointer}/ready"):
            self._check_ready(f"{pointer}/ready", entry.ready, port)
        return ComponentSpec(
            name=name,
            command=self._command(pointer, entry.command),
            env=self._environment(pointer, entry) | entry.env,
            cwd=absolute_path(entry.cwd, self.directory, self.home),
            port=port,
            dependencies=list(dependencies),
            capabilities=list(dict.fromkeys(entry.capabilities)),
            ready=entry.ready,
            start_timeout=self.start_timeout if entry.start_timeout is None else entry.start_timeout,
            stop_timeout=entry.stop_timeout,
            restart=entry.restart,
            constraints=_given_limits(entry.constraints),
            version=entry.version,
            component_type=entry.type,
            component_name=entry.name or name,
            metadata=entry.metadata,
        )

    def _check_ready(self, pointer: str, ready: ReadySpec, port: int | None) -> None:
        given = [probe for probe in PROBES if getattr(ready, probe) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            self._report(pointer, f"{dotted(pointer)} needs exactly one of {', '.join(PROBES)}; found {found}")
        elif port is None and (ready.tcp is True or (ready.http or "").startswith("/")):
            where = f"{pointer}/{given[0]}"
            self._report(where, f"{dotted(where)}: the component has no port", "give it a 'port'")

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


def absolute_path(text: str, directory: Path, home: Path) -> str:
    """*text* as an absolute path: `~` is *home*, everything else is relative to *directory*."""
    path = home / text[2:] if text.startswith("~/") else home if text == "~" else directory / text
    return os.path.normpath(path)


def _given_limits(constraints: ConstraintSpec) -> dict[str, float]:
    return {name: limit for name, limit in msgspec.structs.asdict(constraints).items() if limit is not None}


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
