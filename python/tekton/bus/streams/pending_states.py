"""Where a message is that a consumer was handed, and what can happen to it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a pending message is."""

    OUT = "out"
    """Somebody has it, and has not said what became of it."""
    WAITING = "waiting"
    """It is to be handed out again, when it is time and somebody asks."""
    DYING = "dying"
    """It is on its way to the dead letters."""
    DONE = "done"
    """It is pending no more."""


class Event(StrEnum):
    """What can happen to a pending message."""

    TAKEN = "taken"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    RELEASED = "released"
    """Whoever has it has not looked at it."""
    SPENT = "spent"
    """It failed, and was handed out as often as it may be."""
    REJECTED = "rejected"
    BURIED = "buried"
    """Its dead letter is on the disk."""
    UNBURIED = "unburied"
    """Its dead letter could not be written."""
    GONE = "gone"
    """The stream does not have it any more."""


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.OUT, Event.ACKNOWLEDGED): State.DONE,
    (State.OUT, Event.FAILED): State.WAITING,
    (State.OUT, Event.RELEASED): State.WAITING,
    (State.OUT, Event.SPENT): State.DYING,
    (State.OUT, Event.REJECTED): State.DYING,
    (State.WAITING, Event.TAKEN): State.OUT,
    (State.WAITING, Event.ACKNOWLEDGED): State.DONE,  # late, but nobody else has got it
    (State.WAITING, Event.REJECTED): State.DYING,
    (State.WAITING, Event.SPENT): State.DYING,
    (State.WAITING, Event.GONE): State.DONE,
    (State.DYING, Event.BURIED): State.DONE,
    (State.DYING, Event.UNBURIED): State.WAITING,
    (State.DYING, Event.GONE): State.DONE,
}
"""What is not here changes nothing: whoever said it is told that it came too late."""
