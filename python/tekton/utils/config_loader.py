"""Puts the configuration together from files, environment and command line; pure but for reading the files.

Everything that is wrong is collected first and raised as one `ConfigurationError`, sorted by file and line.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tekton.auth.roles import ROLES
from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_components import (
    ComponentBuilder,
    ComponentSpec,
    merge_dependencies,
    secrets_in,
)
from tekton.utils.config_fallbacks import checked_fallbacks
from tekton.utils.config_files import Expander, read_document, readable_by_all
from tekton.utils.config_origin import COMMAND_LINE, DEFAULT, Origin, in_environment, in_file
from tekton.utils.config_places import ConfigFiles, absolute_path, configured_files, environment_text
from tekton.utils.config_ports import (
    AssignedPort,
    conflicting_ports,
    resolve_ports,
    written_ports,
)
from tekton.utils.config_schema import (
    CONTROL_PLANE,
    FILE_SETTINGS,
    SETTINGS,
    ComponentsFile,
    DependenciesFile,
    DependencySpec,
    FallbackSpec,
    MainFile,
    PortsFile,
    RoleSpec,
    SecurityFile,
    Setting,
    StreamSpec,
)
from tekton.utils.config_streams import checked_streams, too_large
from tekton.utils.config_values import InvalidValueError, parse_text
from tekton.utils.json_document import Document, Node
from tekton.utils.redaction import redact
from tekton.utils.tekton_errors import ConfigurationError, Mistake
from tekton.utils.tekton_ids import did_you_mean

_DATA_DIR = "tekton.data_dir"


class SettingValue(NamedTuple):
    """The value of a setting and where it was set."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What was loaded: `settings` by their names, `sources` by setting, port (`ports.hermes`) and component."""

    files: ConfigFiles
    settings: dict[str, Any]
    ports: dict[str, int]
    components: dict[str, ComponentSpec]
    dependencies: dict[str, tuple[DependencySpec, ...]]
    fallbacks: dict[str, tuple[FallbackSpec, ...]]
    streams: dict[str, StreamSpec]
    roles: dict[str, RoleSpec]
    principals: dict[str, tuple[str, ...]]
    sources: dict[str, str]
    secrets: frozenset[str]


@dataclass
class _File:
    """A file and the right part of its contents; an empty one when there is no such file."""

    path: Path | None
    checker: Checker
    plain: dict[str, Any] = field(default_factory=dict)

    def origin(self, pointer: str) -> Origin | None:
        node = self.checker.document.find(pointer)
        return None if node is None else in_file(self.checker.document, node)

    def value(self, *keys: str) -> Any:
        """The checked value at that path; None when it is not there."""
        value: Any = self.plain
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def _has_port(component: Node) -> bool:
    port = component.value.get("port") if isinstance(component.value, dict) else None
    return port is not None and port.value is not None


class ConfigLoader:
    """One load. *overrides* are command-line values by setting; None means not given."""

    def __init__(self, environ: Mapping[str, str], cwd: Path, home: Path, overrides: Mapping[str, object]) -> None:
        self._environ = environ
        self._cwd = cwd
        self._home = home
        self._overrides = {name: value for name, value in overrides.items() if value is not None}
        self._mistakes: list[Mistake] = []
        self._read: list[_File] = []
        self._ports: dict[str, AssignedPort] = {}
        self._wrong_ports: set[str] = set()
        self._expander = Expander(self._variables)

    def load(self, named: Path | None) -> LoadedConfig:
        """Read, check and combine everything; *named* is a file or directory from the command line."""
        files = configured_files(named, self._environ, self._cwd, self._home)
        main = self._file(files.main, MainFile)
        components = self._file(files.components)
        dependencies = self._file(files.dependencies, DependenciesFile)
        ports = self._file(files.ports, PortsFile)
        security = self._file(files.security, SecurityFile)
        settings = self._settings(main, security, files.directory)
        self._resolve_ports(settings, components, ports)
        components.plain = components.checker.check(ComponentsFile)
        _refuse_without_components(components.checker)
        written = msgspec.convert(components.plain, ComponentsFile)
        entries = written.components
        merged = merge_dependencies(
            {name: entry.dependencies for name, entry in entries.items()},
            components.checker,
            msgspec.convert(dependencies.plain, DependenciesFile).dependencies,
            dependencies.checker,
        )
        startup_timeout = settings["tekton.components.startup_timeout"].value
        builder = ComponentBuilder(components.checker, files.directory, self._home, startup_timeout, self._mistakes)
        specs = {name: builder.build(name, entry, self._port(name), merged[name]) for name, entry in entries.items()}
        fallbacks = checked_fallbacks(written.fallbacks, specs, components.checker)
        replicas = {name: entry.replicas for name, entry in entries.items() if entry.replicas > 1}
        streams = checked_streams(main.value("tekton", "bus", "streams") or {}, main.checker)
        size, origin = settings["tekton.bus.streams_size"]
        self._mistakes += too_large(streams, size, main.origin("/tekton/bus/streams") if origin is DEFAULT else origin)
        policy = msgspec.convert(security.plain, SecurityFile)
        _refuse_unknown_roles(security.checker, policy)
        self._compare(settings, {*entries, *(ports.value("ports") or ())}, replicas)
        secrets = self._secrets(settings, specs.values())
        self._raise_mistakes(secrets)
        return LoadedConfig(
            files=files,
            settings={name: _frozen(setting.value) for name, setting in settings.items()},
            ports={name: assigned.port for name, assigned in self._ports.items()},
            components=specs,
            dependencies={name: tuple(specs) for name, specs in merged.items()},
            fallbacks=fallbacks,
            streams=streams,
            roles=policy.roles,
            principals={subject: tuple(roles) for subject, roles in policy.principals.items()},
            sources=self._sources(settings, components, specs),
            secrets=secrets,
        )

    def data_dir(self, named: Path | None) -> Path:
        """The data directory alone. The main file is all that is read.

        Mistakes elsewhere do not matter, as long as the data directory is written out. Where it is not, the main file
        must be right: what is misspelt there could have been meant to name it.
        """
        files = configured_files(named, self._environ, self._cwd, self._home)
        main = self._file(files.main, MainFile)
        setting = next(setting for setting in SETTINGS if setting.name == _DATA_DIR)
        value, origin = self._setting(setting, main, _File(None, Checker(Document(""), self._expander)))
        if origin is DEFAULT or self._mistakes:
            self._raise_mistakes(frozenset(self._expander.secrets))
        return Path(absolute_path(value, self._cwd if origin.document is None else files.directory, self._home))

    def _file(self, path: Path | None, expected: type[msgspec.Struct] | None = None) -> _File:
        document = Document("") if path is None else read_document(path, self._shown(path))
        file = _File(path, Checker(document, self._expander))
        if path is not None and expected is not None:
            file.plain = file.checker.check(expected)
        self._read.append(file)
        return file

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self._cwd)) if path.is_relative_to(self._cwd) else str(path)

    def _variables(self, pointer: str) -> Mapping[str, str]:
        """The environment; for a component, PORT is its own port."""
        _, _, rest = pointer.partition("/components/")
        if not rest or pointer.startswith("/tekton"):
            return self._environ
        name, _, key = rest.partition("/")
        port = self._port(name)
        if port is None and name in self._wrong_ports and key != "port":
            port = 0  # that it is wrong is told there; that there is none would be a second mistake
        own = {} if port is None else {"PORT": str(port)}
        return {name: value for name, value in self._environ.items() if name != "PORT"} | own

    # Settings

    def _settings(self, main: _File, security: _File, directory: Path) -> dict[str, SettingValue]:
        self._refuse_unknown_overrides()
        settings = {setting.name: self._setting(setting, main, security) for setting in SETTINGS}
        for name in (_DATA_DIR, *FILE_SETTINGS):
            value, origin = settings[name]
            if value is not None:
                base = self._cwd if origin.document is None else directory
                settings[name] = SettingValue(Path(absolute_path(value, base, self._home)), origin)
        self._refuse_open_secret(settings["tekton.security.jwt_secret"].origin, main, security)
        return settings

    def _setting(self, setting: Setting, main: _File, security: _File) -> SettingValue:
        written = self._written(setting, main, security) or SettingValue(setting.default, DEFAULT)
        short = setting.name.removeprefix("tekton.")
        given = self._overrides.get(setting.name, self._overrides.get(short))
        if given is not None:
            return self._parsed(setting, _as_text(given), COMMAND_LINE) or written
        text = environment_text(self._environ, setting.variable)
        if text is not None:
            return self._parsed(setting, text, in_environment(setting.variable)) or written
        return written

    def _written(self, setting: Setting, main: _File, security: _File) -> SettingValue | None:
        """The value from the files. Both may set what belongs to security, but not differently."""
        keys = setting.name.split(".")
        found = [
            SettingValue(value, origin)
            for file, path in ((main, keys), (security, keys[1:]))
            if (value := file.value(*path)) is not None and (origin := file.origin("/" + "/".join(path))) is not None
        ]
        if len(found) == 2 and found[0].value != found[1].value:
            problem = f"{setting.name} has another value in {found[0].origin.text}"
            self._mistakes.append(found[1].origin.mistake(problem))
        return found[0] if found else None

    def _parsed(self, setting: Setting, text: str, origin: Origin) -> SettingValue | None:
        try:
            return SettingValue(parse_text(text, setting.type), origin)
        except InvalidValueError as error:
            found = "" if setting.secret or not error.problem.startswith("expected") else f", found {text!r}"
            self._mistakes.append(origin.mistake(f"{setting.name}: {error.problem}{found}", error.suggestion))
            return None

    def _refuse_unknown_overrides(self) -> None:
        names = [setting.name.removeprefix("tekton.") for setting in SETTINGS]
        for name in self._overrides:
            short = name.removeprefix("tekton.")
            if short not in names:
                self._mistakes.append(COMMAND_LINE.mistake(f"unknown setting {name!r}", did_you_mean(short, names)))

    def _refuse_open_secret(self, origin: Origin, main: _File, security: _File) -> None:
        node = origin.node
        if node is None or "${" in str(node.value):
            return
        for file in (main, security):
            if file.path is not None and file.checker.document is origin.document and readable_by_all(file.path):
                problem = f"{dotted(node.pointer)} stands in a file that every user can read"
                self._mistakes.append(origin.mistake(problem, f"chmod 600 {self._shown(file.path)}"))

    # Ports

    def _resolve_ports(self, settings: dict[str, SettingValue], components: _File, ports: _File) -> None:
        written = written_ports(components.checker.document, "components", components.checker)
        listed = written_ports(ports.checker.document, "ports", ports.checker)
        table = components.checker.document.find("/components")
        names = table.value if table is not None and isinstance(table.value, dict) else {}
        self._wrong_ports = {name for name, node in names.items() if _has_port(node)} - written.keys()
        self._ports, mistakes = resolve_ports(self._environ, names, written, listed)
        self._mistakes += mistakes
        own = [listed[name] for name in CONTROL_PLANE if name in listed]
        if own and settings["tekton.port"].origin is DEFAULT:
            settings["tekton.port"] = SettingValue(*own[0])
        for name in CONTROL_PLANE:
            self._ports[name] = AssignedPort(*settings["tekton.port"])

    def _port(self, name: str) -> int | None:
        assigned = self._ports.get(name)
        return None if assigned is None else assigned.port

    # Checks that compare values, and the results

    def _compare(self, settings: dict[str, SettingValue], named: set[str], replicas: dict[str, int]) -> None:
        interval, timeout = (settings[f"tekton.components.heartbeat_{name}"] for name in ("interval", "timeout"))
        if timeout.value <= interval.value:
            origin = interval.origin if timeout.origin is DEFAULT else timeout.origin
            relation = f"({timeout.value:g} s) must be longer than heartbeat_interval ({interval.value:g} s)"
            self._mistakes.append(origin.mistake(f"heartbeat_timeout {relation}"))
        holders = [("the control plane", self._ports["tekton_core"])]
        metrics = settings["tekton.monitoring.metrics_port"]
        if metrics.value is not None:
            holders.append(("the metrics", AssignedPort(*metrics)))
        ops = settings["tekton.security.ops_port"]
        if ops.value is not None:
            holders.append(("the ops port", AssignedPort(*ops)))
        holders += [(name, port) for name, port in self._ports.items() if name in named and name not in CONTROL_PLANE]
        self._mistakes += conflicting_ports(holders, replicas)

    def _secrets(self, settings: dict[str, SettingValue], specs: Iterable[ComponentSpec]) -> frozenset[str]:
        own = (settings[setting.name].value for setting in SETTINGS if setting.secret)
        theirs = (value for spec in specs for value in secrets_in(spec))
        return frozenset(filter(None, (*own, *theirs, *self._expander.secrets)))

    def _raise_mistakes(self, secrets: frozenset[str]) -> None:
        mistakes = [*self._mistakes, *(mistake for file in self._read for mistake in file.checker.mistakes)]
        if mistakes:
            order = {file.checker.document.source: place for place, file in enumerate(self._read)}
            mistakes.sort(key=lambda mistake: (order.get(mistake.source, len(order)), mistake.line, mistake.column))
            safe = [dataclasses.replace(mistake, problem=redact(mistake.problem, secrets)) for mistake in mistakes]
            raise ConfigurationError(safe)

    def _sources(self, settings: dict[str, SettingValue], components: _File, specs: Iterable[str]) -> dict[str, str]:
        places = {name: components.origin(f"/components/{name}") for name in specs}
        return (
            {name: setting.origin.text for name, setting in settings.items()}
            | {f"ports.{name}": assigned.origin.text for name, assigned in self._ports.items()}
            | {f"components.{name}": place.text for name, place in places.items() if place is not None}
        )


def _refuse_without_components(checker: Checker) -> None:
    """An empty components.json is one that somebody has begun; that nothing starts is said, not left to be noticed."""
    root = checker.document.root
    if root is not None and isinstance(root.value, dict) and "components" not in root.value and not checker.mistakes:
        checker.report(root, "the file has no 'components'", 'write {"components": {}} if there are none')


def _refuse_unknown_roles(checker: Checker, policy: SecurityFile) -> None:
    written = checker.document.find("/roles")
    # One that is written wrongly is complained of once, not wherever it is used.
    known = [*ROLES, *(written.value if written is not None and isinstance(written.value, dict) else ())]
    for subject, roles in policy.principals.items():
        for place, role in enumerate(roles):
            node = checker.document.find(f"/principals/{subject}/{place}")
            if role not in known and node is not None:
                advice = did_you_mean(role, known) or f"the roles are {', '.join(known)}"
                checker.report(node, f"{dotted(node.pointer)}: there is no role {role!r}", advice)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
