"""Agents and their conversations."""

from collections.abc import Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AgentError",
    "AgentExistsError",
    "AgentLimitError",
    "AgentNotFoundError",
    "AgentOfferedError",
    "AgentUnreachableError",
    "ConversationError",
    "ConversationExistsError",
    "ConversationFullError",
    "ConversationLimitError",
    "ConversationNotFoundError",
    "InvalidAgentError",
    "InvalidConversationError",
    "NoAgentAvailableError",
    "NotParticipantError",
]


class AgentError(TektonError):
    """Base of what can go wrong with an agent. `agent_id` says with which; it is empty where that is not known."""

    code = "agent"

    def __init__(self, agent_id: str, problem: str) -> None:
        self.agent_id = agent_id
        super().__init__(problem)


class InvalidAgentError(AgentError):
    """An agent is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_agent"

    def __init__(self, agent_id: str, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(agent_id, f"{field} of agent {agent_id}: {problem}")


class AgentNotFoundError(AgentError):
    """There is no agent of that id."""

    code = "agent_not_found"

    def __init__(self, agent_id: str, nearest: str | None = None) -> None:
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(agent_id[:128], f"there is no agent {agent_id[:128]!r}")


class AgentExistsError(AgentError):
    """There is an agent of that id already. It was left as it is."""

    code = "agent_exists"
    hint = "choose another id, or register it with replace=True"

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id, f"there is an agent {agent_id} already")


class AgentLimitError(AgentError):
    """As many remote agents are registered as may be (`limit`). This one is not."""

    code = "agent_limit"
    hint = "remove agents that are not used any more"

    def __init__(self, agent_id: str, limit: int) -> None:
        self.limit = limit
        super().__init__(agent_id, f"{limit} agents are registered, and no more may be")


class AgentOfferedError(AgentError):
    """A component (`component_id`) offers the agent of that id: nobody else changes it. It was left as it is."""

    code = "agent_offered"
    hint = "choose another id, or change the component"

    def __init__(self, agent_id: str, component_id: str) -> None:
        self.component_id = component_id
        super().__init__(agent_id, f"agent {agent_id} is one of the component {component_id}")


class NoAgentAvailableError(AgentError):
    """No usable agent can do what is wanted. `unusable` names some that could, if they were usable.

    `nearest` is what was perhaps meant, where nobody can do it at all, and that was looked for.
    """

    code = "no_agent_available"

    def __init__(self, wanted: str, unusable: Sequence[str] = (), nearest: str | None = None) -> None:
        self.wanted = wanted
        self.unusable = list(unusable[:20])
        self.nearest = nearest
        if self.unusable:
            self.hint = f"not usable at the moment: {', '.join(self.unusable)}"
        elif nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__("", f"no agent is available for {wanted}")


class AgentUnreachableError(AgentError):
    """An agent is known, and there is no way to it at the moment."""

    code = "agent_unreachable"

    def __init__(self, agent_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(agent_id, f"agent {agent_id} cannot be reached: {reason}")


class ConversationError(TektonError):
    """Base of what can go wrong with a conversation. `conversation_id` says with which."""

    code = "conversation"

    def __init__(self, conversation_id: str, problem: str) -> None:
        self.conversation_id = conversation_id
        super().__init__(problem)


class InvalidConversationError(ConversationError):
    """A conversation is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_conversation"

    def __init__(self, conversation_id: str, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(conversation_id, f"{field} of conversation {conversation_id}: {problem}")


class ConversationNotFoundError(ConversationError):
    """There is no conversation of that id, or none that the caller may know of."""

    code = "conversation_not_found"

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id[:255], f"there is no conversation {conversation_id[:255]!r}")


class ConversationExistsError(ConversationError):
    """There is a conversation of that id already. It was left as it is."""

    code = "conversation_exists"
    hint = "go on with that one, or choose another id"

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id, f"there is a conversation {conversation_id} already")


class NotParticipantError(ConversationError):
    """Somebody speaks in a conversation in which he does not take part. Nothing was added to it."""

    code = "not_participant"
    hint = "add_participant lets him take part"

    def __init__(self, conversation_id: str, participant: str) -> None:
        self.participant = participant
        super().__init__(conversation_id, f"{participant} takes no part in conversation {conversation_id}")


class ConversationFullError(ConversationError):
    """A conversation has as much of something (`what`) as it may have (`limit`). Nothing was added to it."""

    code = "conversation_full"

    def __init__(self, conversation_id: str, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(conversation_id, f"conversation {conversation_id} may have {limit} {what}, and no more")


class ConversationLimitError(ConversationError):
    """As many conversations are there that `owner` has begun as may be (`limit`). This one was not begun."""

    code = "conversation_limit"
    hint = "delete those that nobody needs any more"

    def __init__(self, conversation_id: str, owner: str, limit: int) -> None:
        self.owner = owner
        self.limit = limit
        super().__init__(conversation_id, f"{owner} has begun {limit} conversations that are kept, and no more may be")
