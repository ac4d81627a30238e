"""What is received with some of it changed, moved or cut off: another value, or a refusal, and never anything else.

`TEKTON_MUTATIONS` is how many of each kind are tried (default 2,000), `TEKTON_SEED` the first of them (default 0). One
that fails is named by its seed: `TEKTON_MUTATIONS=1 TEKTON_SEED=<seed>` runs it alone. (The fuzz targets of `rust/fuzz`
look for what chance does not find.)
"""

import os
import random
from collections.abc import Callable

import pytest

from tekton._native import Envelope, Message, MessageContext
from tekton.utils.tekton_errors import MessageError, MessageTooLargeError

MUTATIONS = int(os.environ.get("TEKTON_MUTATIONS", "2000"))
SEED = int(os.environ.get("TEKTON_SEED", "0"))

CONTEXT = MessageContext(
    "rhetor", "engram", "t", parent_id="01a21676-7bdb-7d3e-a691-46080e501c23", deadline=1.5, hops=3
)
CONTENT = {"é\n": [1, -1, 2**63, 1.5e300, None, True, "\U0001f600" * 20, {}], "b": "x" * 70}
MESSAGE = Message("request", CONTENT, CONTEXT, {"a": "\\", "priority": 1})
ENVELOPES = [Envelope("orders.new", MESSAGE, "_inbox.a.b", 7, 1.5, 3, "orders"), Envelope("a", MESSAGE)]


def read_message(data: bytes) -> None:
    message = Message.from_json(data)
    assert message.to_json() is data
    assert Message.from_msgpack(message.to_msgpack()) == message


def read_packed_message(data: bytes) -> None:
    message = Message.from_msgpack(data)
    assert Message.from_json(message.to_json()) == message == Message.from_msgpack(message.to_msgpack())


def read_batch(data: bytes) -> None:
    batch_id, envelopes = Envelope.unpack(data)
    assert Envelope.subjects(data) == [each.subject for each in envelopes]
    assert Envelope.unpack(Envelope.pack(batch_id, envelopes)) == (batch_id, envelopes)
    for each in envelopes:
        each.frame(1)


KINDS: dict[str, tuple[bytes, Callable[[bytes], None]]] = {
    "a message": (MESSAGE.to_json(), read_message),
    "a message as MessagePack": (MESSAGE.to_msgpack(), read_packed_message),
    "a batch": (Envelope.pack(1, ENVELOPES), read_batch),
    "a batch of MessagePack": (Envelope.pack(1, ENVELOPES, msgpack=True), read_batch),
}


def mutated(data: bytes, chance: random.Random) -> bytes:
    """*data* with up to four changes: bits, bytes, pieces taken away, doubled or moved."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(changed) + 1), chance.choice((1, 1, 2, 4, 8, 40))
        piece = changed[place : place + length]
        match chance.randrange(6):
            case 0:
                changed[place : place + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in piece[:1])
            case 1:
                changed[place : place + length] = chance.randbytes(len(piece))
            case 2:
                changed[place : place + length] = bytes(chance.choice((0, 1, 0x7F, 0x80, 0xFF)) for _ in piece)
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = piece
            case _:
                target = chance.randrange(len(changed) + 1)
                changed[target : target + len(piece)] = piece
    return bytes(changed)


@pytest.mark.parametrize(("data", "read"), KINDS.values(), ids=KINDS.keys())
def test_what_was_changed_on_its_way_is_read_or_refused(data: bytes, read: Callable[[bytes], None]) -> None:
    for seed in range(SEED, SEED + MUTATIONS):
        changed = mutated(data, random.Random(seed))
        try:
            read(changed)
        except (MessageError, MessageTooLargeError):
            continue
        except BaseException as error:
            raise AssertionError(f"TEKTON_SEED={seed}: {changed!r}") from error
