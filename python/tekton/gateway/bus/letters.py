"""Dead letters, as each may read them.

A letter carries a message that was published to another subject, and who may not hear that subject is not to read it
here either. He is shown the letter, that is the subject, the stream, the consumer and the reason, without the message:
it is null, and `withheld` is true.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from tekton._native import overlaps
from tekton.auth.roles import RESERVED
from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import InvalidSubjectError

_BEGINNING: Final = f"{RESERVED}.dead."


def may_be_letters(pattern: str) -> bool:
    """Whether what matches *pattern* may be a dead letter."""
    return overlaps(pattern, f"{_BEGINNING}>")


def readable(envelopes: Sequence[Envelope], hears: Callable[[str], bool]) -> list[Envelope]:
    """*envelopes* for somebody who *hears* certain subjects: letters about others are without their message."""
    return [_readable(one, hears) if one.subject.startswith(_BEGINNING) else one for one in envelopes]


def _readable(letter: Envelope, hears: Callable[[str], bool]) -> Envelope:
    message = letter.message
    content: dict[str, Any] = message.content
    if _may_read(content["subject"], hears):
        return letter
    shown = Message(
        message.message_type,
        {**content, "message": None, "withheld": True},
        message.context,
        message_id=message.message_id,
        timestamp=message.timestamp,
    )
    # Read anew, so that its size is what it was written with.
    bare = Envelope(letter.subject, Message.from_json(shown.to_json()), letter.reply)
    return bare.placed(letter.sequence, letter.time, attempt=letter.attempt, stream=letter.stream)


def _may_read(subject: str, hears: Callable[[str], bool]) -> bool:
    try:
        return hears(subject)
    except InvalidSubjectError:
        return False
