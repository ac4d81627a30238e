"""What RFC 6455 lets a client send on a socket and what it forbids, frame by frame: it goes on, or ends as it must.

The cases and their numbers are those of the Autobahn test suite, which asks a server that echoes. Ours is asked by
heartbeats: the answer repeats the id of the component, so that every byte of a message is known to have come through.
Of chapters 12 and 13 only the offers are here: what they send is compressed, and we agree to no compression.
"""

import asyncio
import json
import logging
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest

from tekton.gateway import sockets
from tekton.gateway.component_topic import ComponentSocket

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, NO_CODE, NOT_UTF_8, TOO_BIG = 1000, 1002, 1005, 1007, 1009
MASK = b"\x37\xfa\x21\x3d"
KIB, MIB = 2**10, 2**20

GET = b"GET /ws HTTP/1.1\r\nhost: localhost\r\n"
UPGRADE, CONNECTION = b"upgrade: websocket\r\n", b"connection: upgrade\r\n"
VERSION, KEY = b"sec-websocket-version: 13\r\n", b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HANDSHAKE = GET + UPGRADE + CONNECTION + VERSION + KEY

Answer = tuple[int, str | bytes | int]
"""A frame of the server: its opcode, and of a text what it tells, of a pong its payload, of a close its code."""


class Deviation(NamedTuple):
    """Where the server below us does other than RFC 6455 says, and the code with which it ends, None: it goes on."""

    sentence: str
    ends: int | None


SAYS_NO_CODE = Deviation("The Close frame is without the code that it should have by 7.1.7.", NO_CODE)
FAILS_LATE = Deviation("Text is looked at when its frame is complete, which Autobahn calls NON-STRICT.", NO_CODE)
TAKES_LONG_LENGTHS = Deviation("A length in more bytes than it needs, which 5.2 forbids to send, is taken.", None)
KNOWS_NO_1014 = Deviation(
    "The close code 1014, registered later, is taken for one that does not exist.", PROTOCOL_ERROR
)


@dataclass(frozen=True, slots=True)
class Case:
    """What a client writes, piece by piece; what comes back; the code with which it must end, None: it must go on."""

    name: str
    sent: Sequence[bytes]
    back: Sequence[Answer] = ()
    ends: int | None = None
    deviation: Deviation | None = None


def fails(name: str, sent: Sequence[bytes], back: Sequence[Answer] = (), code: int = PROTOCOL_ERROR) -> Case:
    """The client breaks the protocol."""
    return Case(name, sent, back, code, SAYS_NO_CODE)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, width: int | None = None, mask: bytes = MASK
) -> bytes:
    """A frame of a client. *width* is that of the length beyond its first byte, when it is not the least."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 2**16 else 8
    head = bytes([fin << 7 | rsv << 4 | opcode, bool(mask) << 7 | {0: size, 2: 126, 8: 127}[width]])
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(size)
    return head + (size.to_bytes(width) if width else b"") + mask + masked


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def pieces(data: bytes, size: int = 1) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def parts(data: bytes, *ends: int) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *ends, len(data)])]


def fragments(opcode: int, payloads: Sequence[bytes]) -> list[bytes]:
    """One message, a frame for each payload."""
    last = len(payloads) - 1
    return [frame(CONTINUATION if n else opcode, payload, fin=n == last) for n, payload in enumerate(payloads)]


def octets(frames: Iterable[bytes]) -> list[bytes]:
    return pieces(b"".join(frames))


CUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "at once": lambda frames: [b"".join(frames)],
    "frame by frame": lambda frames: frames,
    "octet by octet": octets,
}


def question(text: bytes) -> bytes:
    """A heartbeat of a component with this name."""
    return b'{"op":"beat","instance_uuid":"i","component_id":"%b"}' % text


def question_of(size: int) -> tuple[bytes, Answer]:
    """A message of exactly *size* bytes, and its answer."""
    if size == 0:
        return b"", (TEXT, "malformed")
    name = "*" * (size - len(question(b"")))
    return question(name.encode()), (TEXT, name)


HELLO, HELLO_BACK = frame(TEXT, question(b"Hello")), (TEXT, "Hello")


class Reply(msgspec.Struct):
    known: bool = True


class Peer:
    """A client on a bare socket: unlike from a stream, what came before a reset can be read from it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()

    async def write(self, *data: bytes) -> None:
        """Send one after the other, until the server takes no more."""
        with suppress(ConnectionError):
            for piece in data:
                await self._loop.sock_sendall(self._connection, piece)

    async def head(self) -> str:
        """The answer to the handshake."""
        while b"\r\n\r\n" not in self._kept:
            await self._more()
        return (await self._take(self._kept.index(b"\r\n\r\n") + 4)).decode()

    async def answer(self) -> Answer:
        """The next frame. Raises EOFError."""
        first, length = await self._take(2)
        assert first & 0xF0 == 0x80, "whole, and nothing reserved"
        assert length <= 127, "not masked"
        if length >= 126:
            length = int.from_bytes(await self._take(2 if length == 126 else 8))
        payload = await self._take(length)
        opcode = first & 0x0F
        if opcode == TEXT:
            told = json.loads(payload)
            return TEXT, next(str(told[key]) for key in ("component_id", "code", "reason", "t") if key in told)
        if opcode == CLOSE:
            return CLOSE, int.from_bytes(payload[:2]) if payload else NO_CODE
        return opcode, payload

    async def rest(self) -> list[Answer]:
        """All that comes until the server ends the connection."""
        answers: list[Answer] = []
        with suppress(EOFError):
            while True:
                answers.append(await self.answer())
        return answers

    async def _take(self, size: int) -> bytes:
        while len(self._kept) < size:
            await self._more()
        taken = bytes(self._kept[:size])
        del self._kept[:size]
        return taken

    async def _more(self) -> None:
        data = b""
        with suppress(ConnectionError):
            data = await self._loop.sock_recv(self._connection, 2**16)
        if not data:
            raise EOFError
        self._kept += data


@asynccontextmanager
async def connected(site: Any) -> AsyncIterator[Peer]:
    """A client that has said nothing yet, and has 20 s."""
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(20):
            yield Peer(connection)


@asynccontextmanager
async def opened(site: Any, headers: bytes = b"") -> AsyncIterator[Peer]:
    """A client with a socket, on which no extension was agreed to."""
    async with connected(site) as peer:
        await peer.write(HANDSHAKE + headers + b"\r\n")
        head = await peer.head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "extensions" not in head.lower()
        yield peer


async def goes_on(peer: Peer, back: Sequence[Answer] = ()) -> None:
    """After what is to come *back*, one more question is answered, and a close is."""
    await peer.write(HELLO, close(NORMAL))
    assert await peer.rest() == [*back, HELLO_BACK, (CLOSE, NORMAL)]


async def check(site: Any, case: Case, headers: bytes = b"") -> None:
    ends = case.deviation.ends if case.deviation else case.ends
    async with opened(site, headers) as peer:
        await peer.write(*case.sent)
        if ends is None:
            await goes_on(peer, case.back)
        else:
            assert await peer.rest() == [*case.back, (CLOSE, ends)]


@pytest.fixture
async def site(serve: Any, feed: Any) -> Any:
    return await serve(websocket=ComponentSocket(feed.source, lambda *_: Reply()))


@pytest.fixture(autouse=True)
async def nothing_is_left(
    site: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> AsyncIterator[None]:
    """After every case no socket is left open, the next is served, and there is nothing to tell the log."""
    yield
    await site.no_streams()
    async with opened(site) as peer:
        await goes_on(peer)
    await site.no_streams()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr().err == ""


def table(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


FULL, FULL_BACK = question_of(65536)


def sizes(chapter: str, opcode: int) -> list[Case]:
    whole = [
        Case(f"{chapter}.{number} {size} bytes", [frame(opcode, message)], [answer])
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1)
        for message, answer in [question_of(size)]
    ]
    return [*whole, Case(f"{chapter}.8 65536 bytes in pieces", pieces(frame(opcode, FULL), 997), [FULL_BACK])]


@table(
    *sizes("1.1", TEXT),
    *sizes("1.2", BINARY),
    Case("10.1.1 65536 bytes in fragments", fragments(TEXT, pieces(FULL, 1300)), [FULL_BACK]),
)
async def test_payloads_of_every_size_are_answered(site: Any, case: Case) -> None:
    await check(site, case)


BYTES = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
LONGEST = b"\xfe" * 125
TEN = [b"payload-%d" % number for number in range(10)]
TEN_PINGS, TEN_PONGS = [frame(PING, payload) for payload in TEN], [(PONG, payload) for payload in TEN]


@table(
    Case("2.1 empty", [frame(PING)], [(PONG, b"")]),
    Case("2.2 text", [frame(PING, b"Hello")], [(PONG, b"Hello")]),
    Case("2.3 bytes", [frame(PING, BYTES)], [(PONG, BYTES)]),
    Case("2.4 125 bytes", [frame(PING, LONGEST)], [(PONG, LONGEST)]),
    fails("2.5 126 bytes", [frame(PING, LONGEST + b"\xfe")]),
    Case("2.6 125 bytes octet by octet", octets([frame(PING, LONGEST)]), [(PONG, LONGEST)]),
    Case("2.7 pong that nobody asked for", [frame(PONG)]),
    Case("2.8 the same with a payload", [frame(PONG, b"unasked")]),
    Case("2.9 the same before a ping", [frame(PONG, b"unasked"), frame(PING, b"asked")], [(PONG, b"asked")]),
    Case("2.10 ten", TEN_PINGS, TEN_PONGS),
    Case("2.11 ten octet by octet", octets(TEN_PINGS), TEN_PONGS),
)
async def test_pings_are_answered_and_pongs_are_not(site: Any, case: Case) -> None:
    await check(site, case)


@table(
    fails("3.1 text", [frame(TEXT, question(b"x"), rsv=1)]),
    fails("3.2 second text", [HELLO + frame(TEXT, question(b"x"), rsv=2) + frame(PING)], [HELLO_BACK]),
    fails("3.3 frame by frame", [HELLO, frame(TEXT, question(b"x"), rsv=3), frame(PING)], [HELLO_BACK]),
    fails("3.4 octet by octet", octets([HELLO, frame(TEXT, question(b"x"), rsv=4), frame(PING)]), [HELLO_BACK]),
    fails("3.5 binary", [frame(BINARY, BYTES, rsv=5)]),
    fails("3.6 ping", [frame(PING, b"Hello", rsv=6)]),
    fails("3.7 close", [frame(CLOSE, rsv=7)]),
)
async def test_a_reserved_bit_ends_the_socket(site: Any, case: Case) -> None:
    await check(site, case)


def reserved(chapter: str, opcode: int) -> list[Case]:
    return [
        fails(f"{chapter}.1 {opcode}", [frame(opcode)]),
        fails(f"{chapter}.2 {opcode + 1}", [frame(opcode + 1, b"payload")]),
        fails(f"{chapter}.3 {opcode + 2}", [HELLO, frame(opcode + 2), frame(PING)], [HELLO_BACK]),
        fails(f"{chapter}.4 {opcode + 3}", [HELLO, frame(opcode + 3, b"payload"), frame(PING)], [HELLO_BACK]),
        fails(f"{chapter}.5 {opcode + 4}", octets([HELLO, frame(opcode + 4, b"payload"), frame(PING)]), [HELLO_BACK]),
    ]


@table(*reserved("4.1", 3), *reserved("4.2", 11))
async def test_a_reserved_opcode_ends_the_socket(site: Any, case: Case) -> None:
    await check(site, case)


ONE, TWO = fragments(TEXT, pieces(question(b"Hello"), 30))
STRAY, STRAY_OPEN = frame(CONTINUATION, b"stray"), frame(CONTINUATION, b"stray", fin=False)


@table(
    fails("5.1 ping", [frame(PING, b"1", fin=False), frame(CONTINUATION, b"2")]),
    fails("5.2 pong", [frame(PONG, b"1", fin=False), frame(CONTINUATION, b"2")]),
    *(Case(f"5.{n} two {name}", cut([ONE, TWO]), [HELLO_BACK]) for n, (name, cut) in enumerate(CUTS.items(), 3)),
    *(
        Case(f"5.{n} ping between {name}", cut([ONE, frame(PING, b"p"), TWO]), [(PONG, b"p"), HELLO_BACK])
        for n, (name, cut) in enumerate(CUTS.items(), 6)
    ),
    *(fails(f"5.{n} stray {name}", cut([STRAY, HELLO])) for n, (name, cut) in enumerate(CUTS.items(), 9)),
    *(fails(f"5.{n} stray, open {name}", cut([STRAY_OPEN, HELLO])) for n, (name, cut) in enumerate(CUTS.items(), 12)),
    fails("5.15 stray behind two", [ONE + TWO + STRAY_OPEN + HELLO], [HELLO_BACK]),
    fails("5.16 stray, open, before two, twice", [STRAY_OPEN, ONE, TWO, STRAY_OPEN, ONE, TWO]),
    fails("5.17 stray before two, twice", [STRAY, ONE, TWO, STRAY, ONE, TWO]),
    fails("5.18 new message in the middle of one", [ONE + HELLO]),
)
async def test_only_fragments_in_order_make_a_message(site: Any, case: Case) -> None:
    await check(site, case)


@pytest.mark.parametrize("cut", ["at once", "frame by frame"], ids=["5.19 at once", "5.20 frame by frame"])
async def test_a_ping_between_fragments_is_answered_before_the_message_is_complete(site: Any, cut: str) -> None:
    first, second, third, fourth, fifth = fragments(TEXT, pieces(question(b"Hello"), 12))
    async with opened(site) as peer:
        await peer.write(*CUTS[cut]([first, second, frame(PING, b"1")]))
        assert await peer.answer() == (PONG, b"1")
        await peer.write(*CUTS[cut]([third, fourth, frame(PING, b"2"), fifth]))
        await goes_on(peer, [(PONG, b"2"), HELLO_BACK])


GREEK = "κόσμε".encode()
MIXED = "Hello-µ@ßöäüàá-UTF-8!!"
SIGNS = "µ€😀"
SURROGATE, TOO_HIGH = GREEK + b"\xed\xa0\x80edited", GREEK + b"\xf4\x90\x80\x80edited"


@table(
    Case("6.1.1 nothing", [frame(TEXT)], [(TEXT, "malformed")]),
    Case("6.1.2 three times nothing", fragments(TEXT, [b"", b"", b""]), [(TEXT, "malformed")]),
    Case("6.1.3 nothing around", fragments(TEXT, [b"", question(b"Hello"), b""]), [HELLO_BACK]),
    Case("6.2.1 whole", [frame(TEXT, question(MIXED.encode()))], [(TEXT, MIXED)]),
    Case("6.2.2 between ä and ü", fragments(TEXT, parts(question(MIXED.encode()), 64)), [(TEXT, MIXED)]),
    Case("6.2.3 octet by octet", fragments(TEXT, pieces(question(MIXED.encode()))), [(TEXT, MIXED)]),
    Case("6.2.4 Greek octet by octet", fragments(TEXT, pieces(question(GREEK))), [(TEXT, GREEK.decode())]),
    *(
        Case(f"6.2 behind octet {at}", fragments(TEXT, parts(question(SIGNS.encode()), at)), [(TEXT, SIGNS)])
        for at in range(len(question(SIGNS.encode())) + 1)
    ),
    fails("6.3.1 whole", [frame(TEXT, SURROGATE)], code=NOT_UTF_8),
    fails("6.3.2 octet by octet", fragments(TEXT, pieces(SURROGATE)), code=NOT_UTF_8),
    fails("6.4.1 before the last frame", fragments(TEXT, parts(TOO_HIGH, 11, 15))[:2], code=NOT_UTF_8),
    fails("6.4.2 and all of the character", fragments(TEXT, parts(TOO_HIGH, 12, 13))[:2], code=NOT_UTF_8),
    Case("6.4.3 in the middle of a frame", parts(frame(TEXT, TOO_HIGH), 17, 21), (), NOT_UTF_8, FAILS_LATE),
    Case("6.4.4 and of a character", parts(frame(TEXT, TOO_HIGH), 18, 19), (), NOT_UTF_8, FAILS_LATE),
)
async def test_text_may_be_cut_anywhere_and_what_is_none_ends_the_socket(site: Any, case: Case) -> None:
    await check(site, case)


CUT_SHORT = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]
LONELY = ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
SEQUENCES = {
    "6.5 good": [*(f"hello{sign}world".encode().hex() for sign in "$¢€\U00024b62"), GREEK.hex()],
    "6.6 beginning": [GREEK[: end + 1].hex() for end in range(len(GREEK))],
    "6.7 first of its length": ["00", "c280", "e0a080", "f0908080"],
    "6.8 first of five and six": ["f888808080", "fc8480808080"],
    "6.9 last of its length": ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    "6.10 last of four, five and six": ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    "6.11 at a border": ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"],
    "6.12 no start": ["80", "bf", *("80bf80bf80bf"[:size] for size in (4, 6, 8, 10, 12)), bytes(range(128, 191)).hex()],
    "6.13 only starts": [b" ".join(b"%c" % byte for byte in range(*ends)).hex() + "20" for ends in LONELY],
    "6.14 cut short": CUT_SHORT,
    "6.15 all of them": ["".join(CUT_SHORT)],
    "6.16 impossible": ["fe", "ff", "fefeffff"],
    "6.17 overlong": ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    "6.18 overlong, the last": ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    "6.19 overlong zero": ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    "6.20 surrogate": ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"],
    "6.21 pair": [a + b for a in ("eda080", "edadbf", "edae80", "edafbf") for b in ("edb080", "edbfbf")],
    "6.22 no character": [chr(plane << 16 | end).encode().hex() for plane in range(17) for end in (0xFFFE, 0xFFFF)],
    "6.23 special": [chr(code).encode().hex() for code in range(0xFFF9, 0x10000)],
}


def sequence(name: str, payload: bytes) -> Case:
    """What is not UTF-8, of which Python's decoder is the judge, is sent bare, so that it may end too early."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return fails(name, [frame(TEXT, payload)], code=NOT_UTF_8)
    told = "malformed" if text == "\0" else text  # which JSON allows in no string
    return Case(name, [frame(TEXT, question(payload))], [(TEXT, told)])


@table(
    *(
        sequence(f"{chapter.replace(' ', f'.{number} ', 1)} {text[:20]}", bytes.fromhex(text))
        for chapter, texts in SEQUENCES.items()
        for number, text in enumerate(texts, 1)
    )
)
async def test_text_is_utf_8_and_nothing_else(site: Any, case: Case) -> None:
    await check(site, case)


GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)
LARGE = frame(TEXT, bytes(256 * KIB))
TOO_LARGE: list[Answer] = [(TEXT, "too_large"), (TEXT, "message too large")]


@table(
    Case("7.1.1 behind a message", [HELLO + close(NORMAL)], [HELLO_BACK], NORMAL),
    Case("7.1.2 twice", [close(NORMAL) + frame(CLOSE)], (), NORMAL),
    Case("7.1.3 before a ping", [close(NORMAL) + frame(PING)], (), NORMAL),
    Case("7.1.4 before a message", [close(NORMAL) + HELLO], (), NORMAL),
    Case("7.1.5 between fragments", [ONE + close(NORMAL) + TWO], (), NORMAL),
    fails("7.1.6 behind 256 KiB", [LARGE + HELLO + close(NORMAL) + frame(PING)], TOO_LARGE, TOO_BIG),
    Case("7.3.1 empty", [frame(CLOSE)], (), NO_CODE),
    fails("7.3.2 one byte", [frame(CLOSE, b"a")]),
    Case("7.3.3 code", [close(NORMAL)], (), NORMAL),
    Case("7.3.4 code and reason", [close(NORMAL, b"Hello")], (), NORMAL),
    Case("7.3.5 125 bytes", [close(NORMAL, b"*" * 123)], (), NORMAL),
    fails("7.3.6 126 bytes", [close(NORMAL, b"*" * 124)]),
    fails("7.5.1 reason that is not UTF-8", [close(NORMAL, SURROGATE)], code=NOT_UTF_8),
    *(Case(f"7.7.{n} {code}", [close(code)], (), code) for n, code in enumerate(GOOD_CODES, 1)),
    *(Case(f"7.9.{n} {code}", [close(code)], (), PROTOCOL_ERROR) for n, code in enumerate(BAD_CODES, 1)),
    *(Case(f"7.13.{n} {code}", [close(code)], (), PROTOCOL_ERROR) for n, code in ((1, 5000), (2, 65535))),
    *(Case(f"7 registered later: {code}", [close(code)], (), code) for code in (1012, 1013)),
    Case("7 registered later: 1014", [close(1014)], (), 1014, KNOWS_NO_1014),
    Case("7 never sent: 1015", [close(1015)], (), PROTOCOL_ERROR),
)
async def test_a_close_is_answered_and_nothing_behind_it_is(site: Any, case: Case) -> None:
    await check(site, case)


def large(chapter: int, *sizes: int) -> pytest.MarkDecorator:
    """Chapter 9.*chapter* asks with text, the one behind it with bytes."""
    rows = [
        pytest.param(opcode, size, id=f"9.{chapter + binary}.{number} {size}")
        for binary, opcode in enumerate((TEXT, BINARY))
        for number, size in enumerate(sizes, 1)
    ]
    return pytest.mark.parametrize(("opcode", "size"), rows)


def too_large(sent: Sequence[bytes]) -> Case:
    return fails("", sent, TOO_LARGE, TOO_BIG)


@large(1, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)
async def test_a_message_up_to_the_limit_is_answered_and_a_larger_one_ends_with_a_goodbye(
    site: Any, opcode: int, size: int
) -> None:
    message, answer = question_of(size)
    sent = [frame(opcode, message)]
    await check(site, Case("", sent, [answer]) if size <= sockets.MAX_MESSAGE else too_large(sent))


@large(3, 64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
async def test_a_larger_one_in_fragments_ends_with_a_goodbye(site: Any, opcode: int, size: int) -> None:
    await check(site, too_large([b"".join(fragments(opcode, pieces(bytes(4 * MIB), size)))]))


@large(5, 64, 128, 256, 512, KIB, 2 * KIB)
async def test_a_larger_one_that_comes_in_pieces_ends_with_a_goodbye(site: Any, opcode: int, size: int) -> None:
    await check(site, too_large(pieces(frame(opcode, bytes(MIB)), size)))


@large(7, 0, 16, 64, 256, KIB, 4 * KIB)
async def test_a_thousand_messages_are_answered_one_after_the_other(site: Any, opcode: int, size: int) -> None:
    message = frame(opcode, b'{"op":"ping"}'.ljust(size) if size else b"")
    async with opened(site) as peer:
        for _ in range(1000):
            await peer.write(message)
            assert await peer.answer() == (TEXT, "pong" if size else "malformed")
        await goes_on(peer)


OFFER = b"permessage-deflate; client_no_context_takeover; client_max_window_bits"
NO_TAKEOVER, BITS = b"; server_no_context_takeover", b"; server_max_window_bits="


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(OFFER, id="12 and 13.1"),
        pytest.param(OFFER + NO_TAKEOVER, id="13.2"),
        pytest.param(OFFER + BITS + b"9", id="13.3"),
        pytest.param(OFFER + BITS + b"15", id="13.4"),
        pytest.param(OFFER + NO_TAKEOVER + BITS + b"9", id="13.5"),
        pytest.param(OFFER + NO_TAKEOVER + BITS + b"15", id="13.6"),
        pytest.param(b", ".join([OFFER + NO_TAKEOVER + BITS + b"9", OFFER + NO_TAKEOVER, OFFER]), id="13.7"),
    ],
)
async def test_compression_is_not_agreed_to_and_ends_the_socket(site: Any, offer: bytes) -> None:
    deflate = zlib.compressobj(wbits=-15)
    bomb = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    case = fails("", [HELLO, frame(TEXT, bomb, rsv=4)], [HELLO_BACK])

    await check(site, case, b"sec-websocket-extensions: " + offer + b"\r\n")


def announced(size: int) -> bytes:
    """The head of a frame whose payload does not come."""
    return bytes([0x80 | TEXT, 0x80 | 127]) + size.to_bytes(8) + MASK


@table(
    fails("text without mask", [frame(TEXT, question(b"Hello"), mask=b"")]),
    fails("ping without mask", [frame(PING, mask=b"")]),
    fails("close without mask", [frame(CLOSE, mask=b"")]),
    Case("mask of zeros", [frame(TEXT, question(b"Hello"), mask=bytes(4))], [HELLO_BACK]),
    Case("length in 2 bytes", [frame(TEXT, question(b"x"), width=2)], [(TEXT, "x")], None, TAKES_LONG_LENGTHS),
    Case("length in 8 bytes", [frame(TEXT, question(b"x"), width=8)], [(TEXT, "x")], None, TAKES_LONG_LENGTHS),
    Case("ping with its length in 2 bytes", [frame(PING, b"x", width=2)], [(PONG, b"x")], None, TAKES_LONG_LENGTHS),
    fails("length with its highest bit", [announced(2**63)]),
    fails("length of all ones", [announced(2**64 - 1)]),
    fails("longest length", [announced(2**63 - 1)], code=TOO_BIG),
)
async def test_masks_and_lengths_are_as_they_must_be(site: Any, case: Case) -> None:
    await check(site, case)


async def test_a_flood_of_pings_is_answered_and_others_are_served_meanwhile(site: Any) -> None:
    pings = [frame(PING, b"%d" % number) for number in range(10_000)]
    async with opened(site) as peer:
        await peer.write(b"".join(pings))
        async with opened(site) as other:
            await goes_on(other)
        await peer.write(HELLO, close(NORMAL))
        *pongs, hello, bye = await peer.rest()

    # Of pings that come faster than they are answered, only the last must be.
    numbers = [int(payload) for opcode, payload in pongs if opcode == PONG]
    assert numbers == sorted(set(numbers))
    assert (len(numbers), numbers[-1]) == (len(pongs), 9999)
    assert (hello, bye) == (HELLO_BACK, (CLOSE, NORMAL))


@pytest.mark.parametrize("sent", [1, 2, 5, 6, len(HELLO) - 1])
async def test_who_leaves_in_the_middle_of_a_frame_leaves_nothing(site: Any, sent: int) -> None:
    async with opened(site) as peer:
        await peer.write(HELLO[:sent])


@pytest.mark.parametrize("sent", [1, len(GET), len(HANDSHAKE) - 9, len(HANDSHAKE)])
async def test_half_a_handshake_opens_nothing_until_the_rest_comes(site: Any, sent: int) -> None:
    async with connected(site) as peer, connected(site) as leaver:
        await peer.write(HANDSHAKE[:sent])
        await leaver.write(HANDSHAKE[:sent])
        async with opened(site) as other:
            await goes_on(other)
        await site.no_streams()

        await peer.write(HANDSHAKE[sent:] + b"\r\n")
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        await goes_on(peer)


@pytest.mark.parametrize(
    ("handshake", "status"),
    [
        pytest.param(HANDSHAKE.replace(b"GET", b"POST"), 405, id="POST"),
        pytest.param(GET + CONNECTION + VERSION + KEY, 426, id="no upgrade"),
        pytest.param(HANDSHAKE.replace(b": websocket", b": h2c"), 426, id="upgrade to something else"),
        pytest.param(GET + UPGRADE + VERSION + KEY, 426, id="no connection"),
        pytest.param(GET + UPGRADE + CONNECTION + KEY, 400, id="no version"),
        # Which versions there are, the answer does not say, as 4.2.2 wants it to.
        pytest.param(HANDSHAKE.replace(b"13", b"8"), 400, id="old version"),
        pytest.param(GET + UPGRADE + CONNECTION + VERSION, 400, id="no key"),
    ],
)
async def test_a_handshake_that_is_none_is_refused(site: Any, handshake: bytes, status: int) -> None:
    async with connected(site) as peer:
        await peer.write(handshake + b"\r\n")
        assert (await peer.head()).startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    ("handshake", "back"),
    [
        pytest.param(HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), [], id="HTTP 1.0 is upgraded, and ended at once"),
        pytest.param(
            HANDSHAKE.replace(KEY, b"sec-websocket-key: x\r\n"), [HELLO_BACK, (CLOSE, NORMAL)], id="any key is taken"
        ),
    ],
)
async def test_two_things_that_a_handshake_must_have_are_not_asked_for(
    site: Any, handshake: bytes, back: list[Answer]
) -> None:
    async with connected(site) as peer:
        await peer.write(handshake + b"\r\n")
        assert " 101 " in await peer.head()
        await peer.write(HELLO, close(NORMAL))
        assert await peer.rest() == back
