"""The configuration of Tekton, and everything that is read from the environment.

    config = TektonConfig.load_from_file("config/tekton.json")
    config.get_port("hermes")                                       # 8001

Precedence: defaults < files < environment < command line. All mistakes are reported at once, in one
`ConfigurationError`. Nothing else in Tekton reads environment variables or configuration files; every setting is
described in docs/reference/configuration.md.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tekton import failpoints
from tekton.failpoints import Action
from tekton.utils.component_place import ComponentPlace, read_place
from tekton.utils.config_components import ComponentSpec
from tekton.utils.config_entry import read_entry
from tekton.utils.config_loader import ConfigLoader
from tekton.utils.config_origin import in_environment
from tekton.utils.config_places import ConfigFiles, environment_text, home_directory
from tekton.utils.config_ports import environment_port, port_variable, variable_prefix
from tekton.utils.config_schema import (
    CONTROL_PLANE,
    DEFAULT_PORTS,
    SETTINGS,
    BreakerSpec,
    DependencySpec,
    FallbackSpec,
    ProbeSpec,
    RestartSpec,
    RoleSpec,
    Setting,
    StreamSpec,
    json_schema,
)
from tekton.utils.config_values import InvalidValueError
from tekton.utils.redaction import REDACTED, is_secret_name, redact, redact_json
from tekton.utils.tekton_errors import ConfigurationError, Mistake
from tekton.utils.tekton_ids import did_you_mean
from tekton.utils.trace_context import TraceContext, parse

__all__ = [
    "DEFAULT_PORTS",
    "SETTINGS",
    "BreakerSpec",
    "ComponentEnvironment",
    "ComponentPlace",
    "ComponentSpec",
    "ConfigFiles",
    "DependencySpec",
    "FallbackSpec",
    "ProbeSpec",
    "RestartSpec",
    "RoleSpec",
    "Setting",
    "ShownSetting",
    "StreamSpec",
    "TektonConfig",
    "armed_failpoints",
    "component_base_url",
    "component_environment",
    "component_place",
    "environment_secrets",
    "guard_descriptor",
    "json_schema",
    "telemetry_variables",
]


class ShownSetting(NamedTuple):
    """One row of `TektonConfig.show`: secrets are redacted in `value`, which is JSON."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TektonConfig:
    """The complete configuration. Durations are in seconds; docs/reference/configuration.md says what each means.

    `ports` has every known component, the control plane as `tekton` and `tekton_core`. `dependencies` joins
    components.json and dependencies.json and may name components that are not supervised. `fallbacks` are, by
    capability, those who stand in for the components that offer it, the first one to ask first. `streams` are those of
    tekton.json. `roles` are those of
    security.json, `principals` the roles that it binds to subjects. `sources` tells where each setting, port
    (`ports.hermes`) and component (`components.hermes`) was set: `default`, `file:line`, `env NAME` or `command line`.
    """

    host: str
    port: int
    data_dir: Path
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    log_format: Literal["text", "json"]
    mdns: bool
    profiles: tuple[str, ...]
    enable_auth: bool | Literal["auto"]
    jwt_secret: str | None = dataclasses.field(repr=False)
    token_expiry: float
    key_life: float | None
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    ops_port: int | None
    rate_limit: float
    rate_limit_burst: int
    max_requests_per_caller: int
    max_streams_per_caller: int
    max_streams: int
    callback_networks: tuple[str, ...]
    agent_card_keys: Path | None
    audit_limit: int
    audit_heads: Path | None
    enable_metrics: bool
    metrics_port: int | None
    collection_interval: float
    thresholds_cpu_percent: float
    thresholds_memory_percent: float
    thresholds_disk_percent: float
    thresholds_gpu_memory_percent: float
    trace_ratio: float
    otlp_endpoint: str | None
    stall_threshold: float
    history_age: float
    history_size: int | str
    startup_timeout: float
    heartbeat_interval: float
    heartbeat_timeout: float
    auto_recover: bool
    history_limit: int
    enable_streams: bool
    streams_size: int | str
    task_age: float
    task_limit: int
    max_open_tasks: int
    max_open_tasks_per_owner: int
    max_open_size: int | str
    max_open_size_per_owner: int | str
    agent_lease: float
    conversation_age: float | None
    max_conversations_per_owner: int
    max_messages_per_conversation: int
    max_conversation_size: int | str
    components: dict[str, ComponentSpec]
    dependencies: dict[str, tuple[DependencySpec, ...]]
    ports: dict[str, int]
    roles: dict[str, RoleSpec]
    principals: dict[str, tuple[str, ...]]
    fallbacks: dict[str, tuple[FallbackSpec, ...]] = dataclasses.field(default_factory=dict)
    streams: dict[str, StreamSpec] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(repr=False)
    files: ConfigFiles
    secrets: frozenset[str] = dataclasses.field(repr=False)

    @classmethod
    def load(
        cls,
        config: str | Path | None = None,
        overrides: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> "TektonConfig":
        """Find, read and check the configuration.

        *config* is a main file, a components file or a directory; without it TEKTON_CONFIG_FILE and the usual places
        are looked at. *overrides* are values of the command line by setting (`port`, `security.enable_auth`); None
        means not given. *environ* and *cwd* default to those of the process. Raises `ConfigurationError`.
        """
        environ = os.environ if environ is None else environ
        directory = Path.cwd() if cwd is None else Path(cwd).absolute()
        loader = ConfigLoader(environ, directory, home_directory(environ), overrides or {})
        loaded = loader.load(None if config is None else Path(config))
        settings = {setting.attribute: loaded.settings[setting.name] for setting in SETTINGS}
        return cls(
            **settings,
            components=loaded.components,
            dependencies=loaded.dependencies,
            fallbacks=loaded.fallbacks,
            streams=loaded.streams,
            ports=loaded.ports,
            roles=loaded.roles,
            principals=loaded.principals,
            sources=loaded.sources,
            files=loaded.files,
            secrets=loaded.secrets,
        )

    @classmethod
    def load_from_file(cls, path: str | Path) -> "TektonConfig":
        """Load that file, those beside it, and the environment. Raises `ConfigurationError`."""
        return cls.load(path)

    def get_port(self, component: str) -> int:
        """The port of a component; `tekton_core` is the control plane. Raises `ConfigurationError` if none is known."""
        if component not in self.ports:
            raise _unknown_port(component, self.ports)
        return self.ports[component]

    def read_component(self, name: str, entry: bytes, ports: Mapping[int, str]) -> ComponentSpec:
        """The component that *entry*, a JSON object as in components.json, describes beside this configuration.

        *ports* tells who has which port already. Raises `ConfigurationError`; its pointers are into *entry*.
        """
        directory, home = self.files.directory, home_directory(os.environ)
        return read_entry(name, entry, directory=directory, home=home, start_timeout=self.startup_timeout, ports=ports)

    def redact(self, text: str) -> str:
        """*text* without the secrets that this configuration holds."""
        return redact(text, self.secrets)

    def show(self) -> list[ShownSetting]:
        """Every setting, port and component with its value and source, secrets redacted."""
        rows = [self._shown_setting(setting) for setting in SETTINGS]
        for name, port in self.ports.items():
            rows.append(ShownSetting(f"ports.{name}", port, self.sources[f"ports.{name}"]))
        for name, spec in self.components.items():
            value = redact_json(msgspec.to_builtins(spec), self.secrets)
            rows.append(ShownSetting(f"components.{name}", value, self.sources[f"components.{name}"]))
        return rows

    def _shown_setting(self, setting: Setting) -> ShownSetting:
        value = getattr(self, setting.attribute)
        shown = REDACTED if setting.secret and value is not None else redact_json(value, self.secrets)
        return ShownSetting(setting.name, str(shown) if isinstance(shown, Path) else shown, self.sources[setting.name])


@dataclass(frozen=True, slots=True)
class ComponentEnvironment:
    """What a component is told by the environment it runs in.

    `url` is always usable, and `url_given` when TEKTON_URL says so; the rest is None for a process that Tekton did not
    start. `socket` is the control plane's Unix socket, `port` the one to listen on. `trace` is that of the start, and
    `trace_ratio` the share of traces that is recorded.
    """

    url: str
    socket: Path | None = None
    credential_file: Path | None = None
    component_id: str | None = None
    instance_uuid: str | None = None
    port: int | None = None
    url_given: bool = False
    trace: TraceContext | None = None
    trace_ratio: float = 1.0

    def credential(self) -> str | None:
        """The secret in the credential file, None without one. Raises `ConfigurationError` if it cannot be read."""
        if self.credential_file is None:
            return None
        try:
            return self.credential_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = f"{self.credential_file} cannot be read: {getattr(error, 'strerror', None) or 'not text'}"
            raise ConfigurationError([in_environment("TEKTON_CREDENTIAL_FILE").mistake(problem)]) from error


def component_environment(environ: Mapping[str, str] | None = None) -> ComponentEnvironment:
    """Read TEKTON_URL, TEKTON_SOCKET, TEKTON_CREDENTIAL_FILE, TEKTON_COMPONENT_ID, TEKTON_INSTANCE_UUID, PORT,
    TRACEPARENT and TRACESTATE, OTEL_TRACES_SAMPLER_ARG and OTEL_SDK_DISABLED.

    Without TEKTON_URL the control plane is expected on this machine, at TEKTON_PORT or 8010.
    """
    environ = os.environ if environ is None else environ
    socket = environment_text(environ, "TEKTON_SOCKET")
    credential_file = environment_text(environ, "TEKTON_CREDENTIAL_FILE")
    return ComponentEnvironment(
        url=component_base_url("tekton", environ),
        socket=None if socket is None else Path(socket),
        credential_file=None if credential_file is None else Path(credential_file),
        component_id=environment_text(environ, "TEKTON_COMPONENT_ID"),
        instance_uuid=environment_text(environ, "TEKTON_INSTANCE_UUID"),
        port=_port(environ, "PORT"),
        url_given=environment_text(environ, "TEKTON_URL") is not None,
        trace=parse(environment_text(environ, "TRACEPARENT"), environment_text(environ, "TRACESTATE")),
        trace_ratio=_trace_ratio(environ),
    )


def component_place(component_id: str, environ: Mapping[str, str] | None = None) -> ComponentPlace:
    """Read ENGRAM_HOST, ENGRAM_URL, ENGRAM_ALLOWED_HOSTS, ENGRAM_MAX_INSTANCES and ENGRAM_FORGET_AFTER, for `engram`.

    Raises `ConfigurationError`.
    """
    return read_place(component_id, os.environ if environ is None else environ, _base_url)


def _trace_ratio(environ: Mapping[str, str]) -> float:
    # OpenTelemetry's variables, which others than us may have set: what makes no sense there is as if it were not.
    if (environment_text(environ, "OTEL_SDK_DISABLED") or "").lower() == "true":
        return 0.0
    try:
        ratio = float(environment_text(environ, "OTEL_TRACES_SAMPLER_ARG") or "1")
    except ValueError:
        return 1.0
    return ratio if 0.0 <= ratio <= 1.0 else 1.0


def telemetry_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """OpenTelemetry's variables that are set, and that components inherit."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name.startswith("OTEL_")}


def guard_descriptor(environ: Mapping[str, str] | None = None) -> int | None:
    """The inherited descriptor of the guard's socket (TEKTON_GUARD_FD); None when no guard started this process."""
    text = environment_text(os.environ if environ is None else environ, "TEKTON_GUARD_FD")
    if text is None or (text.isascii() and text.isdecimal()):
        return None if text is None else int(text)
    raise ConfigurationError([in_environment("TEKTON_GUARD_FD").mistake(f"expected a descriptor, found {text!r}")])


def armed_failpoints(environ: Mapping[str, str] | None = None) -> dict[str, Action]:
    """What TEKTON_FAILPOINTS says should go wrong, by the name of the failpoint; see `tekton.failpoints`."""
    text = environment_text(os.environ if environ is None else environ, "TEKTON_FAILPOINTS")
    try:
        return failpoints.parse(text or "")
    except ValueError as error:
        raise ConfigurationError([in_environment("TEKTON_FAILPOINTS").mistake(str(error))]) from None


def environment_secrets(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """The values of all variables whose names say that they are secret, to keep them out of what is shown."""
    variables = (os.environ if environ is None else environ).items()
    return frozenset(value for name, value in variables if value and is_secret_name(name))


def component_base_url(component: str, environ: Mapping[str, str] | None = None) -> str:
    """Where a component is reached, without the path of an endpoint: `http://localhost:8001`.

    HERMES_URL decides if it is set (a final `/api` of it is dropped), else localhost and HERMES_PORT or the default
    port. Raises `ConfigurationError` for a component without a known port and for a malformed variable.
    """
    environ = os.environ if environ is None else environ
    prefix = "TEKTON" if component in CONTROL_PLANE else variable_prefix(component)
    url = environment_text(environ, f"{prefix}_URL")
    if url is not None:
        return _base_url(url, f"{prefix}_URL")
    port = _port(environ, f"{prefix}_PORT") or DEFAULT_PORTS.get(component)
    if port is None:
        raise _unknown_port(component, DEFAULT_PORTS)
    return f"http://localhost:{port}"


def _base_url(url: str, variable: str) -> str:
    if not _is_base_url(url):
        problem = f"expected a URL such as http://hermes:8001/api, found {redact(url)!r}"
        raise ConfigurationError([in_environment(variable).mistake(problem)])
    return url.rstrip("/").removesuffix("/api").rstrip("/")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return valid and not (parts.query or parts.fragment or parts.username is not None)


def _port(environ: Mapping[str, str], variable: str) -> int | None:
    try:
        return environment_port(environ, variable)
    except InvalidValueError as error:
        raise ConfigurationError([in_environment(variable).mistake(error.problem, error.suggestion)]) from None


def _unknown_port(component: str, known: Mapping[str, int]) -> ConfigurationError:
    advice = did_you_mean(component, known) or f"set {port_variable(component)}, or give it a port in ports.json"
    problem = f"no port is known for {component!r}"
    return ConfigurationError([Mistake("configuration", 0, 0, f"/ports/{component}", problem, advice)])
