"""Agents elsewhere that are asked, and webhooks that are told: what goes out over Agent2Agent."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, Alert, Described, about

PART: Final = "Agent2Agent"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_remote_agent_breakers",
        GAUGE,
        "Remote agents that were asked since the start, by the state of their circuit breaker: `closed` (it is asked), "
        "`open` (not for now, or nobody has wanted to since), `half_open` (on trial).",
        "Which agents keep failing: the log says it of each, `tekton agent ls` whether their cards can be fetched.",
        labels=("state",),
        alert=Alert(
            name="TektonRemoteAgentsFail",
            when='sum(tekton_remote_agent_breakers{state!="closed"}) > 0',
            lasting="15m",
            severity="warning",
            summary=(
                "{{ $value }} remote agents have failed whenever they were asked of late: `tekton logs tekton` names "
                "them and says why"
            ),
            see="concepts/remote-agents.md#what-is-sent-and-what-comes-of-it",
        ),
    ),
    about(
        PART,
        "tekton_push_deliveries",
        COUNTER,
        "Push notifications to webhooks, by what came of them: `delivered`, `failed` (not taken; it is tried again).",
        "How much webhooks are told, and how much of it they do not take.",
        labels=("outcome",),
    ),
    about(
        PART,
        "tekton_push_waiting",
        GAUGE,
        "Webhooks of tasks that have not taken what they were told last, and are told again later.",
        "For long: somebody waits for news that cannot be delivered.",
        alert=Alert(
            name="TektonWebhooksFail",
            when="tekton_push_waiting > 0",
            lasting="1h",
            severity="warning",
            summary=(
                "{{ $value }} webhooks of tasks take nothing: `tekton logs tekton` says why, and after 24 hours they "
                "are given up"
            ),
            see="reference/a2a.md#webhooks",
        ),
    ),
    about(
        PART,
        "tekton_push_given_up",
        COUNTER,
        "Webhooks that are told nothing any more: an event could not be delivered for 24 hours, or they have said 410.",
        "Who has set them does not learn what becomes of his task, unless he asks.",
    ),
)
