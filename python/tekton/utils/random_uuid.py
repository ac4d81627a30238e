"""Random UUIDs, and ids of traces, for where many are made.

Asking the system for randomness lets go of the interpreter, and beside busy threads it is long in coming back: with
`uuid.uuid4` that was a tenth of the CPU time of a registration over HTTP. So the system is asked for 256 at once.
"""

import os

_BATCH = 256
_pool: list[bytes] = []

# A forked child must not give out what its parent gives out.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)


def random_uuid() -> str:
    """A fresh version 4 UUID in its canonical form. Safe from any thread."""
    text = random_hex()
    # RFC 9562, 5.4: the version in the first half byte of the seventh byte, the variant in two bits of the ninth.
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"


def random_hex() -> str:
    """32 random hexadecimal digits, all 128 bits of them random. Safe from any thread."""
    try:
        data = _pool.pop()
    except IndexError:
        data = _fill_pool()
    return data.hex()


def _fill_pool() -> bytes:
    data = os.urandom(16 * _BATCH)
    _pool.extend(data[start : start + 16] for start in range(16, len(data), 16))
    return data[:16]
