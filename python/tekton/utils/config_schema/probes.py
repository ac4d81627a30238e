"""How a component is asked how it is."""

from typing import Annotated

from msgspec import Meta

from tekton.utils.config_rules import check_pattern, check_probe_address, check_true
from tekton.utils.config_schema.base import Argument, Port, Seconds, Section


class ProbeSpec(Section, frozen=True, kw_only=True):
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
