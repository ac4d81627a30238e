"""What a message wants to have done: the type of a task, and its inputs.

In this order:

* A part of JSON that is `{"task_type": …, "inputs": {…}}` says both.
* The member `skill` of the metadata of the message, or of the request, names the type; the parts are the inputs.
* Else it is the first skill of the agent that is spoken to, or the only one that there is.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import UnsetType

from tekton.a2a.agent import Agent
from tekton.a2a.task_manager import TIMEOUT
from tekton.a2a.whole_numbers import with_integers
from tekton.service.edge.a2a.errors import A2aError, Kind, invalid
from tekton.service.edge.a2a.parts import INPUT_MODES, inputs_of, takes
from tekton.service.edge.a2a.wire import Message, Part, Role
from tekton.utils.tekton_ids import nearest_name

MOST_PARTS: Final = 256
MOST_ID: Final = 512
"""Characters of an id that a client has made up."""
MOST_TIME: Final = 31_536_000
"""Seconds that a task may have."""
_NAMED: Final = 20

Metadata = Mapping[str, Any] | UnsetType


class Wanted(NamedTuple):
    """A type of task, and what it is to be done with."""

    task_type: str
    inputs: dict[str, Any]


def check_message(message: Message | None) -> Message:
    """*message*, if it has what a message has to have. Raises A2aError."""
    if message is None:
        raise invalid("message", "it is missing")
    if not 0 < len(message.message_id) <= MOST_ID:
        raise invalid("message.messageId", f"expected an id of 1 to {MOST_ID} characters")
    if message.role is not Role.USER:
        raise invalid("message.role", "expected ROLE_USER")
    if not 0 < len(message.parts) <= MOST_PARTS:
        raise invalid("message.parts", f"expected 1 to {MOST_PARTS} parts")
    for number, part in enumerate(message.parts):
        if part.text is part.raw is part.url is part.data:
            raise invalid(f"message.parts[{number}]", "expected one of text, raw, url and data")
    return message


def check_modes(parts: Sequence[Part], agents: Sequence[Agent]) -> None:
    """Return if one of *agents* takes the media types of all *parts*. Raises A2aError.

    All take texts and JSON; what else one takes is in its metadata as `input_modes`.
    """
    modes = {"text/*", *INPUT_MODES}.union(*(modes_of(agent, "input_modes") for agent in agents))
    for number, part in enumerate(parts):
        media_type = part.media_type or (
            "" if isinstance(part.text, str) or _is_json(part) else "application/octet-stream"
        )
        if media_type and not takes(modes, media_type):
            raise A2aError(
                Kind.CONTENT_TYPE_NOT_SUPPORTED,
                f"message.parts[{number}]: {media_type[:128]} is not taken here; what is: {', '.join(sorted(modes))}",
                metadata={"mediaType": media_type[:128]},
            )


def modes_of(agent: Agent, member: str) -> list[str]:
    """The media types that the metadata of *agent* name there."""
    named = agent.metadata.get(member)
    return [mode for mode in named if isinstance(mode, str)] if isinstance(named, list) else []


def wanted(message: Message, metadata: Metadata, skills: Collection[str], agent: Agent | None) -> Wanted:
    """What *message* wants, from *agent* or, if that is None, from whoever has one of *skills*. Raises A2aError."""
    order = _order(message.parts)
    named = _named(message.metadata) or _named(metadata)
    text_input = None if agent is None else agent.metadata.get("text_input")
    inputs = inputs_of(message.parts, text_input) if isinstance(text_input, str) else inputs_of(message.parts)
    if order is None and not named and (agent is None and len(skills) != 1):
        raise _nothing_named(skills)
    found = order or Wanted(named or next(iter(skills), ""), inputs)
    if agent is not None and found.task_type not in skills:
        raise _unknown(agent, found.task_type, skills)
    return found


def timeout_of(*metadata: Metadata) -> float:
    """For how many seconds the task may take, as the first of *metadata* says that has a `timeout`. Raises A2aError."""
    for one in metadata:
        if isinstance(one, Mapping) and "timeout" in one:
            seconds = one["timeout"]
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MOST_TIME:
                raise invalid("message.metadata.timeout", f"expected seconds, more than 0 and at most {MOST_TIME}")
            return float(seconds)
    return TIMEOUT


def _order(parts: Sequence[Part]) -> Wanted | None:
    """What the one part says that is an order."""
    orders = [part.data for part in parts if _is_order(part.data)]
    if not orders:
        return None
    if len(orders) > 1:
        raise invalid("message.parts", "there are two task types")
    return Wanted(orders[0]["task_type"], with_integers(orders[0].get("inputs") or {}))


def _is_order(data: Any) -> bool:
    return (
        isinstance(data, dict)
        and isinstance(data.get("task_type"), str)
        and data.keys() <= {"task_type", "inputs"}
        and isinstance(data.get("inputs", {}), dict)
    )


def _named(metadata: Metadata) -> str:
    if not isinstance(metadata, Mapping) or "skill" not in metadata:
        return ""
    skill = metadata["skill"]
    if not isinstance(skill, str) or not skill:
        raise invalid("message.metadata.skill", "expected the id of a skill")
    return skill


def _is_json(part: Part) -> bool:
    return not isinstance(part.data, UnsetType)


def _nothing_named(skills: Collection[str]) -> A2aError:
    named = sorted(skills)[:_NAMED]
    what = f"name one: {', '.join(named)}" if named else "there is none at the moment"
    return invalid("message.metadata.skill", f"it is not said which skill is wanted; {what}")


def _unknown(agent: Agent, skill: str, skills: Collection[str]) -> A2aError:
    nearest = nearest_name(skill[:128], skills)
    hint = f"; did you mean {nearest!r}?" if nearest else f"; it has {', '.join(sorted(skills)[:_NAMED])}"
    return invalid("message.metadata.skill", f"agent {agent.agent_id} has no skill {skill[:128]!r}{hint}")
