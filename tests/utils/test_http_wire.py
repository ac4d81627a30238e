import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tekton.utils.http_wire import MAX_HEAD_BYTES, Connection, Head, MalformedAnswerError, render

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport(asyncio.Transport):
    """Where what is sent goes; nobody is at the other end."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Wire:
    """A connection to a script: what the server says is fed in, in pieces of any size."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(MAX_HEAD_BYTES, loop)
        self.transport = Transport()
        protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        self.connection = Connection(self.reader, asyncio.StreamWriter(self.transport, protocol, self.reader, loop))

    def says(self, text: bytes, *, ends: bool = False) -> None:
        self.reader.feed_data(text)
        if ends:
            self.reader.feed_eof()

    async def answer(self, method: str = "GET") -> tuple[Head, bytes]:
        async with asyncio.timeout(5):
            head = await self.connection.ask(method, b"request")
            return head, b"".join([piece async for piece in self.connection.pieces()])


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    wire.connection.abort()


def test_a_request_has_a_host_its_headers_and_its_length() -> None:
    assert render("POST", "/a?b=c", "h:1", {"X-Y": "z"}, b"body") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nAccept-Encoding: identity\r\nX-Y: z\r\nContent-Length: 4\r\n\r\nbody"
    )
    assert b"Content-Length: 0" in render("PUT", "/", "h", {}, None)
    assert b"Content-Length" not in render("GET", "/", "h", {}, None)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [("GET", "/", {"X": "a\r\nY: b"}), ("GET", "/", {"X\n": "a"}), ("GET", "/\r\n", {}), ("G\0", "/", {})],
)
def test_nothing_can_be_smuggled_into_a_request(method: str, target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        render(method, target, "h", headers, None)


async def test_a_body_by_its_length_leaves_the_connection_open(wire: Wire) -> None:
    wire.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind:  pot \r\n\r\nhello")

    head, body = await wire.answer()

    assert (head.status, head.headers["x-kind"], body) == (200, "pot", b"hello")
    assert wire.transport.sent == b"request"
    assert wire.connection.reusable


async def test_a_body_in_chunks_with_extensions_and_trailers(wire: Wire) -> None:
    wire.says(CHUNKED + b"5;x=y\r\nhello\r\nA\r\n, worlds!!\r\n0\r\nX-Trailer: z\r\n\r\n")

    assert (await wire.answer())[1] == b"hello, worlds!!"
    assert wire.connection.reusable


async def test_a_body_until_the_end_costs_the_connection(wire: Wire) -> None:
    wire.says(b"HTTP/1.1 200 OK\r\n\r\nall of it", ends=True)

    assert (await wire.answer())[1] == b"all of it"
    assert not wire.connection.reusable


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_some_answers_have_no_body_whatever_they_say(wire: Wire, method: str, status: int) -> None:
    wire.says(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status)

    assert (await wire.answer(method))[1] == b""
    assert wire.connection.reusable


async def test_answers_on_the_way_are_skipped(wire: Wire) -> None:
    wire.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    wire.says(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    head, _ = await wire.answer()

    assert (head.status, "link" in head.headers) == (201, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        # Who adds a length to chunks may want us to misread where the next answer begins.
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_some_answers_are_the_last_on_their_connection(wire: Wire, answer: bytes) -> None:
    wire.says(answer)

    assert (await wire.answer())[1] == b""
    assert not wire.connection.reusable


async def test_what_comes_unasked_is_not_taken_for_the_next_answer(wire: Wire) -> None:
    wire.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    assert (await wire.answer())[1] == b"ok"

    assert not wire.connection.reusable


async def test_a_connection_with_an_unread_body_or_one_that_has_ended_is_not_used_again(wire: Wire) -> None:
    wire.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await wire.connection.ask("GET", b"")
    assert not wire.connection.reusable

    _ = [piece async for piece in wire.connection.pieces()]
    assert wire.connection.reusable

    wire.reader.feed_eof()
    assert not wire.connection.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: y",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        CHUNKED + b"5\r\nhell",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"0\r\nX: y\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(wire: Wire, answer: bytes) -> None:
    wire.says(answer, ends=True)

    with pytest.raises(EOFError):
        await wire.answer()
    assert not wire.connection.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        CHUNKED + b"\r\n\r\n",
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD_BYTES + 1),
    ],
)
async def test_what_is_no_answer_is_refused(wire: Wire, answer: bytes) -> None:
    wire.says(answer)

    with pytest.raises(MalformedAnswerError):
        await wire.answer()
    assert not wire.connection.reusable


@pytest.mark.parametrize("seed", range(20))
async def test_where_the_network_cuts_does_not_matter(wire: Wire, seed: int) -> None:
    rng = random.Random(seed)
    bodies = [rng.randbytes(rng.choice([0, 1, 100, 70_000])) for _ in range(5)]
    said = b"".join(rng.choice([_counted, _in_chunks])(body, rng) for body in bodies)

    async def speak() -> None:
        rest = said
        while rest:
            size = rng.choice([1, 3, 50, 4096, 100_000])
            wire.says(rest[:size])
            rest = rest[size:]
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(speak())
        heard = [(await wire.answer())[1] for _ in bodies]

    assert heard == bodies


def _counted(body: bytes, _: random.Random) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _in_chunks(body: bytes, rng: random.Random) -> bytes:
    chunks = b""
    while body:
        size = rng.randint(1, len(body))
        chunks += b"%x\r\n" % size + body[:size] + b"\r\n"
        body = body[size:]
    return CHUNKED + chunks + b"0\r\n\r\n"
