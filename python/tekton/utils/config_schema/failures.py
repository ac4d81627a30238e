"""What comes of a failure: restarts of the component itself; for its callers, circuit breakers and fallbacks."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from tekton.utils.config_rules import check_backoff
from tekton.utils.config_schema.base import Id, Seconds, Section, Share


class RestartSpec(Section, frozen=True, kw_only=True):
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


class BreakerSpec(Section, frozen=True, kw_only=True):
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


class FallbackSpec(Section, frozen=True, kw_only=True):
    """Who stands in for those that offer a capability, while none of them can be used."""

    component: Annotated[Id, Meta(description="The component that stands in.")]
    parameters: Annotated[
        dict[str, Any], Meta(description="What takes the place of members of the data that it is called with.")
    ] = {}
    priority: Annotated[
        Annotated[int, Meta(ge=-1_000_000, le=1_000_000)],
        Meta(description="The lowest comes first; among equals the order in which they stand."),
    ] = 0
