"""What may stand in the configuration files: the types, the defaults and the rules for single values.

The structs below are the one description of the five files. The checker walks them, the JSON schema for editors is
made from them, and `SETTINGS` lists every setting of the main file with its environment variable, which is its path
in upper case: `tekton.security.jwt_secret` is TEKTON_SECURITY_JWT_SECRET.

A rule for one value stands in `Meta(extra={"check": rule})`: a function from the value to None, or to the problem
and a suggestion (`config_values.Rule`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

from tekton.utils.config_places import DEFAULT_DATA_DIR
from tekton.utils.config_rules import (
    check_argument,
    check_backoff,
    check_called,
    check_capability,
    check_component,
    check_component_pattern,
    check_consumed,
    check_history_size,
    check_http_url,
    check_network,
    check_origin,
    check_pattern,
    check_permission,
    check_probe_address,
    check_published,
    check_role_name,
    check_secret,
    check_size,
    check_stored,
    check_stream_name,
    check_subject,
    check_subscribed,
    check_text,
    check_true,
    check_user,
    check_variable,
)
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_ids import DOTTED_ID_PATTERN, ID_PATTERN

DEFAULT_PORTS: dict[str, int] = {
    "engram": 8000,
    "hermes": 8001,
    "ergon": 8002,
    "rhetor": 8003,
    "terma": 8004,
    "athena": 8005,
    "prometheus": 8006,
    "harmonia": 8007,
    "telos": 8008,
    "synthesis": 8009,
    "tekton_core": 8010,
    "tekton": 8010,
    "hephaestus": 8080,
}
CONTROL_PLANE = ("tekton", "tekton_core")
"""Names of the control plane itself; no component may be called so."""


Id = Annotated[str, Meta(pattern=f"^{ID_PATTERN}$", extra={"check": check_component})]
Capability = Annotated[str, Meta(pattern=f"^{DOTTED_ID_PATTERN}$", extra={"check": check_capability})]
Text = Annotated[str, Meta(extra={"check": check_text})]
Argument = Annotated[str, Meta(extra={"check": check_argument})]
RoleName = Annotated[str, Meta(extra={"check": check_role_name})]
StreamName = Annotated[str, Meta(extra={"check": check_stream_name})]
Subject = Annotated[str, Meta(extra={"check": check_subject})]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Share = Annotated[float, Meta(gt=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Size = Annotated[int | str, Meta(extra={"check": check_size})]
Schema = Annotated[str | None, Meta(description="Address of a JSON schema, for editors; Tekton ignores it.")]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SecuritySettings(_Section, frozen=True, kw_only=True):
    """`security` of the main file, and the contents of security.json."""

    enable_auth: Annotated[
        bool | Literal["auto"],
        Meta(description="`true`: every caller needs the credential. Else callers on this machine may read."),
    ] = "auto"
    jwt_secret: Annotated[
        str | None,
        Meta(
            description="Secret that signs tokens, 32 bytes or more. None: a random one, kept in the data directory.",
            extra={"check": check_secret},
        ),
    ] = None
    token_expiry: Annotated[Seconds, Meta(description="How long a token is valid, in seconds.")] = 3600.0
    key_life: Annotated[
        Annotated[float, Meta(ge=3_600, le=315_360_000)] | None,
        Meta(description="Seconds after which the key that signs tokens gets a successor. None: never by itself."),
    ] = 7_776_000
    allowed_hosts: Annotated[
        list[Text], Meta(description="Names besides loopback and `host` under which the API may be addressed.")
    ] = []
    allowed_origins: Annotated[
        list[Annotated[str, Meta(extra={"check": check_origin})]],
        Meta(description="Web origins whose pages may use the API, such as `https://ops.example`."),
    ] = []
    trusted_proxies: Annotated[
        list[Annotated[str, Meta(extra={"check": check_network})]],
        Meta(description="Networks of reverse proxies that are believed in whom they pass on, such as `10.0.0.5`."),
    ] = []
    tls_cert: Annotated[
        Text | None, Meta(description="File with the certificate and its chain (PEM). With it, the port speaks TLS.")
    ] = None
    tls_key: Annotated[
        Text | None, Meta(description="File with the private key of the certificate (PEM); only its owner may read it.")
    ] = None
    tls_client_ca: Annotated[
        Text | None,
        Meta(
            description="File with the authorities (PEM) whose certificates clients must show. None: no matter whose."
        ),
    ] = None
    ops_port: Annotated[
        Port | None,
        Meta(
            description="A second port, for health, readiness and heartbeats only, that a flood on the main one leaves."
        ),
    ] = None
    rate_limit: Annotated[
        Annotated[float, Meta(ge=0, le=1_000_000)],
        Meta(description="Requests a second from one principal, and from one address elsewhere. 0: any number."),
    ] = 1000.0
    rate_limit_burst: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)], Meta(description="Requests at once that are within the rate.")
    ] = 5000
    max_requests_per_caller: Annotated[
        Annotated[int, Meta(ge=1, le=1024)], Meta(description="Requests of one caller that are under way at a time.")
    ] = 512
    max_streams_per_caller: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)],
        Meta(description="Event streams and sockets of one caller that are open."),
    ] = 256
    max_streams: Annotated[
        Annotated[int, Meta(ge=16, le=10_000)],
        Meta(description="Event streams and sockets of all callers that are open."),
    ] = 512
    callback_networks: Annotated[
        list[Annotated[str, Meta(extra={"check": check_network})]],
        Meta(description="Networks into which requests may go whose URL others have given, such as `10.1.0.0/16`."),
    ] = []
    agent_card_keys: Annotated[
        Text | None,
        Meta(
            description="File with public keys (a JWK set): only agent cards that one of them has signed are accepted."
        ),
    ] = None
    audit_limit: Annotated[
        Annotated[int, Meta(ge=1_000, le=1_000_000_000)],
        Meta(description="How many entries of the audit log are kept in the database."),
    ] = 1_000_000
    audit_heads: Annotated[
        Text | None,
        Meta(description="File with the signed heads of the audit log. None: audit-heads.jsonl in the data directory."),
    ] = None


class ThresholdSettings(_Section, frozen=True, kw_only=True):
    """`monitoring.thresholds` of the main file: usage, in percent, above which the log says so. 100: never."""

    cpu_percent: Annotated[Percent, Meta(description="CPU usage over a minute above which the log says so.")] = 90.0
    memory_percent: Annotated[Percent, Meta(description="Memory usage above which the log says so.")] = 90.0
    disk_percent: Annotated[
        Percent, Meta(description="How full the disk of the data directory, or of `/`, may be before the log says so.")
    ] = 95.0
    gpu_memory_percent: Annotated[Percent, Meta(description="Usage of a GPU's memory above which the log says so.")] = (
        100.0
    )


class MonitoringSettings(_Section, frozen=True, kw_only=True):
    """`monitoring` of the main file."""

    enable_metrics: Annotated[bool, Meta(description="Whether there are metrics.")] = True
    metrics_port: Annotated[
        Port | None, Meta(description="A second port that serves `/metrics` only. None: it is on the main port alone.")
    ] = None
    collection_interval: Annotated[
        Annotated[float, Meta(ge=0.1, le=3600)],
        Meta(description="Seconds between samples of what the machine uses, and of the metrics."),
    ] = 10.0
    thresholds: ThresholdSettings = ThresholdSettings()
    trace_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1)], Meta(description="Share of the traces that is recorded. 0: none.")
    ] = 1.0
    otlp_endpoint: Annotated[
        Annotated[str, Meta(extra={"check": check_http_url})] | None,
        Meta(description="Base URL to which all spans are sent on, over OTLP/HTTP. Needs the extra `otel`."),
    ] = None
    stall_threshold: Annotated[
        Seconds, Meta(description="Seconds that the event loop may be blocked before the log says where.")
    ] = 0.25
    history_age: Annotated[
        Seconds, Meta(description="Seconds for which telemetry (states, samples, spans) is kept in telemetry.db.")
    ] = 604_800.0
    history_size: Annotated[
        int | str,
        Meta(
            description="Size of telemetry.db, in bytes or as in `256M`; 1M or more. 0: telemetry is in memory only.",
            extra={"check": check_history_size},
        ),
    ] = "256M"


class ComponentSettings(_Section, frozen=True, kw_only=True):
    """`components` of the main file: what holds for all of them."""

    startup_timeout: Annotated[
        Seconds, Meta(description="Seconds within which a component must become ready, unless it says otherwise.")
    ] = 60.0
    heartbeat_interval: Annotated[Seconds, Meta(description="Seconds between the heartbeats of a component.")] = 10.0
    heartbeat_timeout: Annotated[
        Seconds, Meta(description="Seconds without a heartbeat after which a component counts as failed.")
    ] = 30.0
    auto_recover: Annotated[bool, Meta(description="Whether failed components are restarted.")] = True
    history_limit: Annotated[
        Annotated[int, Meta(ge=1_000, le=1_000_000_000)],
        Meta(description="How many past changes are kept in the database."),
    ] = 200_000


class StreamSpec(_Section, frozen=True, kw_only=True):
    """A stream in tekton.json: what it takes, and how long it keeps that. The limit reached first drops the oldest."""

    subjects: Annotated[
        list[Annotated[str, Meta(extra={"check": check_stored})]],
        Meta(min_length=1, description="Patterns of the subjects that it keeps, such as `orders.>`."),
    ]
    max_messages: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)], Meta(description="How many messages it has at most.")
    ] = 1_000_000
    max_bytes: Annotated[Size, Meta(description="What they take together, in bytes or as in `256M`.")] = "256M"
    max_age: Annotated[
        Annotated[float, Meta(gt=0, le=315_360_000)], Meta(description="Seconds for which a message is kept.")
    ] = 604_800.0
    dedupe_window: Annotated[
        Annotated[float, Meta(ge=0, le=604_800)],
        Meta(description="Seconds in which a message with the same id is not stored again."),
    ] = 120.0
    work_queue: Annotated[
        bool, Meta(description="Whether a message goes when it was acknowledged, and each subject has one consumer.")
    ] = False


class BusSettings(_Section, frozen=True, kw_only=True):
    """`bus` of the main file: the streams of messages."""

    enable_streams: Annotated[
        bool, Meta(description="Whether there are streams, in bus.db. Without them messages are only passed on.")
    ] = True
    streams_size: Annotated[
        Size, Meta(description="What all streams may take together: the sum of their `max_bytes`. As in `8G`.")
    ] = "8G"
    streams: Annotated[dict[StreamName, StreamSpec], Meta(description="Streams that are always there, by name.")] = {}


class TaskSettings(_Section, frozen=True, kw_only=True):
    """`tasks` of the main file: how many there may be, and how long those that are over are kept."""

    task_age: Annotated[Seconds, Meta(description="Seconds for which a task that is over is kept.")] = 604_800.0
    task_limit: Annotated[
        Annotated[int, Meta(ge=0, le=10_000_000)],
        Meta(description="How many tasks that are over are kept, parts of others included."),
    ] = 100_000
    max_open_tasks: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)], Meta(description="How many tasks may be open at a time.")
    ] = 10_000
    max_open_tasks_per_owner: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)], Meta(description="How many of these may be of one owner.")
    ] = 1_000


class MainSettings(_Section, frozen=True, kw_only=True):
    """`tekton` of the main file."""

    host: Annotated[Text, Meta(description="Address on which the control plane listens.")] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        Meta(description="Port on which the control plane listens. 0: any free one."),
    ] = 8010
    data_dir: Annotated[Text, Meta(description="Directory of the database, the logs and the run-time files.")] = (
        DEFAULT_DATA_DIR
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Meta(description="The least severe level that is logged."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="`text` for people, `json` for one JSON object per line.")
    ] = "text"
    mdns: Annotated[
        bool, Meta(description="Whether the control plane is announced, and looked for, on the local network.")
    ] = False
    profiles: Annotated[list[Id], Meta(description="Active profiles: components that have one of them start too.")] = []
    security: SecuritySettings = SecuritySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    components: ComponentSettings = ComponentSettings()
    bus: BusSettings = BusSettings()
    tasks: TaskSettings = TaskSettings()


class MainFile(_Section, frozen=True, kw_only=True):
    """tekton.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    tekton: MainSettings = MainSettings()


class RoleSpec(_Section, frozen=True, kw_only=True):
    """A role of your own in security.json."""

    permissions: Annotated[
        list[Annotated[str, Meta(extra={"check": check_permission})]],
        Meta(description="What it permits: permissions such as `components:control`, or names of actions."),
    ]
    components: Annotated[
        list[Annotated[str, Meta(extra={"check": check_component_pattern})]] | None,
        Meta(description="For which components, as patterns such as `web-*`. None: for all of them."),
    ] = None
    publish: Annotated[
        list[Annotated[str, Meta(extra={"check": check_published})]],
        Meta(description="Subjects that may be published to besides, as patterns such as `orders.>`."),
    ] = []
    subscribe: Annotated[
        list[Annotated[str, Meta(extra={"check": check_subscribed})]],
        Meta(description="Subjects that may be subscribed to besides, as patterns such as `orders.>`."),
    ] = []
    tools: Annotated[
        list[Annotated[str, Meta(extra={"check": check_called})]],
        Meta(description="Tools that may be called without `tools:call`, as patterns such as `engram.*`."),
    ] = []
    consume: Annotated[
        list[Annotated[str, Meta(extra={"check": check_consumed})]],
        Meta(description="Consumers of others that may be worked with, as patterns of `<stream>/<consumer>`."),
    ] = []


class SecurityFile(_Section, frozen=True, kw_only=True):
    """security.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    security: SecuritySettings = SecuritySettings()
    roles: Annotated[dict[RoleName, RoleSpec], Meta(description="Roles besides those that are built in.")] = {}
    principals: Annotated[dict[Subject, list[Text]], Meta(description="The roles of each subject.")] = {}


class PortsFile(_Section, frozen=True, kw_only=True):
    """ports.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    ports: Annotated[dict[Id, Port], Meta(description="Ports by component id.")] = {}


class DependencySpec(_Section, frozen=True, kw_only=True):
    """What a component waits for: `ready` (usable), `started` (it runs) or `completed` (it ran and ended well)."""

    component: Id
    condition: Literal["ready", "started", "completed"] = "ready"


class DependenciesFile(_Section, frozen=True, kw_only=True):
    """dependencies.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    dependencies: Annotated[
        dict[Id, list[Id | DependencySpec]], Meta(description="What each component depends on, by component id.")
    ] = {}


class ProbeSpec(_Section, frozen=True, kw_only=True):
    """How a component is asked how it is: exactly one of the first five. Times are in seconds."""

    http: Annotated[
        str | None,
        Meta(description="A path on its port, or a URL, that answers 2xx.", extra={"check": check_probe_address}),
    ] = None
    tcp: Annotated[
        bool | Port | None,
        Meta(description="`true` (its port) or a port that accepts connections.", extra={"check": check_true}),
    ] = None
    log: Annotated[
        str | None,
        Meta(description="A regular expression that a line of its output matches.", extra={"check": check_pattern}),
    ] = None
    exec: Annotated[
        Annotated[list[Argument], Meta(min_length=1)] | None, Meta(description="A command that exits with status 0.")
    ] = None
    heartbeat: Annotated[
        bool | None, Meta(description="`true`: it reports readiness itself.", extra={"check": check_true})
    ] = None
    interval: Annotated[
        Seconds | None, Meta(description="Seconds between two attempts. None: 1 while it starts, 5 afterwards.")
    ] = None
    timeout: Annotated[Seconds, Meta(description="Seconds that one attempt may take.")] = 2.0
    failures: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        Meta(description="Failed attempts in a row that count, once the component runs."),
    ] = 3
    successes: Annotated[
        Annotated[int, Meta(ge=1, le=1000)], Meta(description="Successful attempts in a row that count.")
    ] = 1


PROBES = ("http", "tcp", "log", "exec", "heartbeat")
REPEATABLE_PROBES = ("http", "tcp", "exec")
"""Those that say something about a component that has been up for long."""


class RestartSpec(_Section, frozen=True, kw_only=True):
    """When and how often a failed component is started again. Times are in seconds."""

    policy: Annotated[
        Literal["no", "on-failure", "always"], Meta(description="`always` also restarts after a successful exit.")
    ] = "on-failure"
    max: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)], Meta(description="Restarts in a row before Tekton gives up.")
    ] = 5
    reset_after: Annotated[Seconds, Meta(description="Seconds of health after which the count starts anew.")] = 60.0
    backoff: Annotated[
        tuple[Seconds, Seconds],
        Meta(description="Shortest and longest delay before a restart.", extra={"check": check_backoff}),
    ] = (1.0, 60.0)


class BreakerSpec(_Section, frozen=True, kw_only=True):
    """When callers leave an instance of the component alone for a while. Times are in seconds, rates shares of 1."""

    enabled: Annotated[bool, Meta(description="Whether callers have a circuit breaker for it.")] = True
    failure_threshold: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None, Meta(description="Failed calls in a row that open it.")
    ] = 5
    failure_rate: Annotated[
        Share | None, Meta(description="Share of failed calls in a window that opens it. None: no share does.")
    ] = 0.5
    slow_call_seconds: Annotated[
        Seconds | None, Meta(description="Time from which on a call is slow. None: no call is.")
    ] = None
    slow_call_rate: Annotated[Share, Meta(description="Share of slow calls in a window that opens it.")] = 0.5
    window_calls: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)], Meta(description="The window: so many of the last calls.")
    ] = 100
    window_seconds: Annotated[
        Seconds | None, Meta(description="A window besides: the calls within so long. None: there is none.")
    ] = None
    minimum_calls: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)], Meta(description="A window with fewer calls says nothing.")
    ] = 20
    reset_timeout: Annotated[Seconds, Meta(description="Time for which it stays open before calls are tried.")] = 30.0
    half_open_requests: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)], Meta(description="Calls that are tried then; all must succeed.")
    ] = 2
    probe_timeout: Annotated[Seconds, Meta(description="Time that such a call may take.")] = 30.0


class FallbackSpec(_Section, frozen=True, kw_only=True):
    """Who stands in for those that offer a capability, while none of them can be used."""

    component: Annotated[Id, Meta(description="The component that stands in.")]
    parameters: Annotated[
        dict[str, Any], Meta(description="What takes the place of members of the data that it is called with.")
    ] = {}
    priority: Annotated[
        Annotated[int, Meta(ge=-1_000_000, le=1_000_000)],
        Meta(description="The lowest comes first; among equals the order in which they stand."),
    ] = 0


class ConstraintSpec(_Section, frozen=True, kw_only=True):
    """What must be free on the machine for the component to start."""

    cpu_percent_max: Annotated[Percent | None, Meta(description="Highest CPU usage, in percent.")] = None
    memory_percent_max: Annotated[Percent | None, Meta(description="Highest memory usage, in percent.")] = None
    memory_free_min: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="Least free memory, in GiB.")] = (
        None
    )
    disk_free_min: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="Least free space where its `cwd` is, in GiB.")
    ] = None
    gpu_mem_free_min: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="Least free GPU memory, in GiB.")
    ] = None


class LimitSpec(_Section, frozen=True, kw_only=True):
    """The most that a component may use; what is absent is not limited by Tekton."""

    open_files: Annotated[
        Annotated[int, Meta(ge=16, le=1_000_000_000)] | None, Meta(description="Descriptors that a process may have.")
    ] = None
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=4_194_304)] | None,
        Meta(description="Processes and threads that its user may have. Does not bind root."),
    ] = None
    memory: Annotated[
        int | str | None, Meta(description="Memory, in bytes or as in `512M`.", extra={"check": check_size})
    ] = None


class LogSpec(_Section, frozen=True, kw_only=True):
    """How much of what a component prints is kept."""

    max_size: Annotated[Size, Meta(description="Size at which the log is rotated, in bytes or as in `64M`.")] = "64M"
    keep: Annotated[Annotated[int, Meta(ge=1, le=20)], Meta(description="How many older files are kept.")] = 3


class ComponentEntry(_Section, frozen=True, kw_only=True):
    """One component in components.json, as it is written there."""

    command: Annotated[
        Text | Annotated[list[Argument], Meta(min_length=1)],
        Meta(description="Program and arguments; a string is split like a shell would, but no shell runs."),
    ]
    env: Annotated[
        dict[Annotated[str, Meta(extra={"check": check_variable})], Argument],
        Meta(description="Environment variables; they win over those of `env_file`."),
    ] = {}
    env_file: Annotated[Text | list[Text], Meta(description="Files of NAME=value lines, relative to this file.")] = []
    cwd: Annotated[Text, Meta(description="Working directory, relative to this file.")] = "."
    user: Annotated[
        str | None,
        Meta(
            description="User that it runs as, `name` or `name:group`. None: the user of Tekton.",
            extra={"check": check_user},
        ),
    ] = None
    limits: LimitSpec = LimitSpec()
    log: LogSpec = LogSpec()
    port: Annotated[Port | None, Meta(description="The component's port, given to it as PORT.")] = None
    dependencies: Annotated[
        list[Id | DependencySpec], Meta(description="Components that must be there first, and the condition.")
    ] = []
    capabilities: Annotated[list[Capability], Meta(description="What the component can do.")] = []
    startup: Annotated[
        ProbeSpec | None, Meta(description="What must succeed once before `ready` and `liveness` are asked.")
    ] = None
    ready: Annotated[
        ProbeSpec | None,
        Meta(description="How it shows that it is ready. None: when it runs. Failing later, it gets no traffic."),
    ] = None
    liveness: Annotated[
        ProbeSpec | None, Meta(description="How it shows that it is alive. Failing, it is killed and restarted.")
    ] = None
    on_dependency_failure: Annotated[
        Literal["keep", "degrade", "restart"],
        Meta(description="What happens to it when something that it depends on can no longer be used."),
    ] = "keep"
    start_timeout: Annotated[
        Seconds | None, Meta(description="Seconds to become ready. None: `tekton.components.startup_timeout`.")
    ] = None
    stop_timeout: Annotated[Seconds, Meta(description="Seconds to end after SIGTERM, before SIGKILL.")] = 10.0
    drain: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        Meta(description="Seconds before SIGTERM in which it takes no more traffic."),
    ] = 0.0
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        Meta(description="How many processes of it run. Number i, from 0, has the port `port` + i."),
    ] = 1
    restart: RestartSpec = RestartSpec()
    breaker: BreakerSpec = BreakerSpec()
    constraints: ConstraintSpec = ConstraintSpec()
    profiles: Annotated[
        list[Id], Meta(description="It starts by itself only when one of these profiles is active. None: always.")
    ] = []
    groups: Annotated[list[Id], Meta(description="Groups it belongs to; `@group` names them on the command line.")] = []
    version: Annotated[Text, Meta(description="Its version.")] = "0.0.0"
    type: Annotated[Text, Meta(description="Its kind, for lists and filters.")] = "service"
    name: Annotated[str, Meta(description="Its name for people. Empty: the id.")] = ""
    metadata: Annotated[dict[str, Any], Meta(description="Anything else; kept and shown, never interpreted.")] = {}


class ComponentsFile(_Section, frozen=True, kw_only=True):
    """components.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    components: Annotated[dict[Id, ComponentEntry], Meta(description="The supervised components by id.")] = {}
    fallbacks: Annotated[
        dict[Capability, list[FallbackSpec]], Meta(description="Who stands in for those that offer a capability.")
    ] = {}


FILE_TYPES: dict[str, type[msgspec.Struct]] = {
    "tekton": MainFile,
    "components": ComponentsFile,
    "dependencies": DependenciesFile,
    "ports": PortsFile,
    "security": SecurityFile,
}
"""The types of the files by their name without `.json`."""


FILE_SETTINGS = frozenset(
    f"tekton.security.{name}" for name in ("tls_cert", "tls_key", "tls_client_ca", "agent_card_keys", "audit_heads")
)
"""The settings that name files."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the main file. `name` is its path, such as `tekton.security.jwt_secret`."""

    name: str
    type: inspect.Type
    default: Any
    description: str

    @property
    def attribute(self) -> str:
        """The name of the attribute of `TektonConfig` that holds it: the path within its section."""
        return "_".join(self.name.split(".")[2:]) or self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return self.name.upper().replace(".", "_")

    @property
    def secret(self) -> bool:
        """True when its value must not be shown."""
        return is_secret_name(self.attribute) and self.default is None and self.name not in FILE_SETTINGS


def _settings(struct: inspect.Type, prefix: str) -> Iterator[Setting]:
    assert isinstance(struct, inspect.StructType)
    for member in struct.fields:
        name = f"{prefix}.{member.encode_name}"
        if isinstance(member.type, inspect.StructType):
            yield from _settings(member.type, name)
        elif isinstance(member.type, inspect.Metadata) and not isinstance(member.type.type, inspect.DictType):
            default = member.default if member.default is not msgspec.NODEFAULT else member.default_factory()
            description = (member.type.extra_json_schema or {}).get("description", "")
            yield Setting(name, member.type, default, description)


SETTINGS: tuple[Setting, ...] = tuple(_settings(inspect.type_info(MainSettings), "tekton"))


def json_schema(file: str) -> dict[str, Any]:
    """The JSON schema of a file: `tekton`, `components`, `dependencies`, `ports` or `security`."""
    schema = msgspec.json.schema(FILE_TYPES[file])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
