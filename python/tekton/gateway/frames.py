"""The frames that a socket sends in answer, as text."""

from collections.abc import Sequence

from tekton.bus.bus import Receipt
from tekton.gateway.problems import fields_of
from tekton.gateway.request import encode
from tekton.utils.tekton_errors import TektonError


def error_frame(error: TektonError, number: int | None = None) -> str:
    """What could not be done; *number* is the id of the operation or the subscription that it is about."""
    frame: dict[str, object] = {} if number is None else {"id": number}
    frame |= {"t": "error", "code": error.code, "detail": str(error)}
    if error.hint:
        frame["hint"] = error.hint
    return encode(frame | {name: value for name, value in fields_of(error).items() if name not in frame}).decode()


def published(number: int, receipt: Receipt) -> str:
    """What became of one message."""
    stream = "" if receipt.stream is None else f',"stream":"{receipt.stream}"'
    duplicate = ',"duplicate":true' if receipt.duplicate else ""
    return f'{{"id":{number},"t":"published","sequence":{receipt.sequence}{stream}{duplicate}}}'


def published_all(number: int, receipts: Sequence[Receipt]) -> str:
    """What became of a batch, in its order."""
    return f'{{"id":{number},"t":"published","receipts":{encode(list(receipts)).decode()}}}'


def subscribed(number: int, sequence: int) -> str:
    """The subscription stands; it brings what comes after *sequence*."""
    return f'{{"id":{number},"t":"subscribed","sequence":{sequence}}}'


def consuming(number: int, ack_wait: float) -> str:
    """The consumption stands; *ack_wait* is that of the consumer."""
    return f'{{"id":{number},"t":"subscribed","sequence":0,"ack_wait":{ack_wait}}}'


def gap(number: int, lost: int) -> str:
    """So many messages are missing here."""
    return f'{{"id":{number},"t":"gap","lost":{lost}}}'


def reset(number: int, sequence: int) -> str:
    """The position is not known: it goes on after *sequence*, and what was between is lost."""
    return f'{{"id":{number},"t":"reset","sequence":{sequence}}}'


def acked(number: int, sequences: Sequence[int], late: Sequence[int]) -> str:
    """What was said of these has counted; of the *late* ones it came too late."""
    return encode({"id": number, "t": "acked", "sequences": sequences, "late": late}).decode()
