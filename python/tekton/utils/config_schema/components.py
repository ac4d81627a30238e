"""components.json: the components that Tekton runs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tekton.utils.config_rules import check_user, check_variable
from tekton.utils.config_schema.base import Argument, Capability, Id, Port, Schema, Seconds, Section, Text
from tekton.utils.config_schema.demands import ConstraintSpec, LimitSpec, LogSpec
from tekton.utils.config_schema.dependencies import DependencySpec
from tekton.utils.config_schema.failures import BreakerSpec, FallbackSpec, RestartSpec
from tekton.utils.config_schema.probes import ProbeSpec


class ComponentEntry(Section, frozen=True, kw_only=True):
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


class ComponentsFile(Section, frozen=True, kw_only=True):
    """components.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    components: Annotated[dict[Id, ComponentEntry], Meta(description="The supervised components by id.")] = {}
    fallbacks: Annotated[
        dict[Capability, list[FallbackSpec]], Meta(description="Who stands in for those that offer a capability.")
    ] = {}
