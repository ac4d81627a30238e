"""HTTP/1.1 as a client speaks it on one connection (RFC 9112): a request out, the head of the answer in, then its body.

What our servers and ordinary ones do: bodies by length, in chunks, or until the connection ends; answers on the way
(1xx) are skipped. No compression is asked for, trailers are dropped, and nothing is upgraded.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
_PIECE = 64 * 1024
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_NO_BODY = frozenset({204, 304})


class MalformedAnswerError(ValueError):
    """What came back is not HTTP."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer. Header names are in lower case; what came several times is joined by commas."""

    status: int
    headers: Mapping[str, str]
    keeps_open: bool


def render(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A request as it is sent. Raises ValueError for what would end a line early."""
    fields = {"Host": host, "Accept-Encoding": "identity", **headers}
    if body is not None or method in _WITH_BODY:
        fields["Content-Length"] = str(len(body or b""))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a method, a URL or a header has a line break in it")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Connection:
    """An open connection, for one exchange at a time: `ask`, then `pieces` to their end, then perhaps the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """*reader* must have a limit of `MAX_HEAD_BYTES`."""
        self._reader = reader
        self._writer = writer
        self._method = ""
        self._head = Head(0, {}, keeps_open=False)
        self._complete = True

    @property
    def reusable(self) -> bool:
        """True when another request can be sent on it."""
        ended = self._reader.at_eof() or self._writer.is_closing()
        # What has come unasked would be taken for the next answer. (There is no other way to see it.)
        unasked = self._reader._buffer  # type: ignore[attr-defined]
        return self._complete and self._head.keeps_open and not ended and not unasked

    async def ask(self, method: str, request: bytes) -> Head:
        """Send a request and return the head of the answer.

        Raises EOFError or OSError when the connection ends before it, MalformedAnswerError for what is no answer.
        """
        self._method, self._complete = method, False
        self._writer.write(request)
        while True:
            self._head = _parse(await self._until(b"\r\n\r\n"))
            if self._head.status >= 200:
                return self._head

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body of the answer, piece by piece as it arrives. Raises like `ask`."""
        headers = self._head.headers
        if self._method == "HEAD" or self._head.status in _NO_BODY:
            body = self._counted(0)
        elif (coding := headers.get("transfer-encoding")) is not None:
            if coding.lower() != "chunked":
                raise MalformedAnswerError(f"a body with the coding {coding[:64]!r}, which was not asked for")
            body = self._chunked()
        elif "content-length" in headers:
            body = self._counted(_number(headers["content-length"], 10))
        else:
            body = self._rest()
        async with contextlib.aclosing(body):
            async for piece in body:
                yield piece
        self._complete = True

    def abort(self) -> None:
        """Close it at once, whatever is in progress."""
        self._writer.transport.abort()

    async def _counted(self, length: int) -> AsyncGenerator[bytes, None]:
        while length:
            piece = await self._reader.read(min(length, _PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(piece)
            yield piece

    async def _chunked(self) -> AsyncGenerator[bytes, None]:
        while length := _number((await self._until(b"\r\n")).partition(b";")[0].strip().decode("latin-1"), 16):
            async for piece in self._counted(length):
                yield piece
            if await self._reader.readexactly(2) != b"\r\n":
                raise MalformedAnswerError("a chunk is longer than it says")
        while await self._until(b"\r\n") != b"\r\n":
            pass  # trailers

    async def _rest(self) -> AsyncGenerator[bytes, None]:
        self._head = Head(self._head.status, self._head.headers, keeps_open=False)
        while piece := await self._reader.read(_PIECE):
            yield piece

    async def _until(self, end: bytes) -> bytes:
        try:
            return await self._reader.readuntil(end)
        except asyncio.LimitOverrunError:
            raise MalformedAnswerError("a line or a head without end") from None


def _parse(head: bytes) -> Head:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (len(status) == 3 and status.isdecimal()):
        raise MalformedAnswerError(f"the answer is not HTTP: {first[:64]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise MalformedAnswerError(f"the answer has a broken header: {line[:64]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(int(status), headers, keeps_open=version == "HTTP/1.1" and _keeps_open(headers))


def _keeps_open(headers: Mapping[str, str]) -> bool:
    # Two lengths are one too many: nobody can say where the next answer begins.
    ambiguous = "transfer-encoding" in headers and "content-length" in headers
    return not ambiguous and "close" not in headers.get("connection", "").lower()


def _number(text: str, base: int) -> int:
    digits = "0123456789abcdef"[:base]
    if not text or len(text) > 16 or any(digit not in digits for digit in text.lower()):
        raise MalformedAnswerError(f"{text[:64]!r} is not a length")
    return int(text, base)
