import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tekton.utils import http_pool
from tekton.utils.http_pool import ConnectionPool, InvalidAddressError, NoConnectionError

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """A server that answers each request with what `answer` says, and counts connections and requests.

    With *patience* it hangs up without a word on a request of a connection after so many.
    """

    def __init__(self) -> None:
        self.answer = EMPTY
        self.patience: int | None = None
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._open = 0
        self._ended = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._open -= 1
        async with self._ended:
            self._ended.notify_all()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        while True:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if answered == self.patience:
                return
            writer.write(self.answer)
            answered += 1

    async def left_alone(self) -> None:
        """Return once nobody is connected."""
        async with asyncio.timeout(5), self._ended:
            await self._ended.wait_for(lambda: self._open == 0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with listening:
        yield server
        await server.left_alone()


@pytest.fixture
async def pool(server: Server) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(None, keep_alive=30)
    yield pool
    pool.close()


async def ask(pool: ConnectionPool, url: str, method: str = "GET") -> bytes:
    async with asyncio.timeout(5), pool.exchange(method, url, {}, None) as response:
        assert response.status == 200
        return b"".join([piece async for piece in response.pieces()])


async def test_a_connection_is_used_again(server: Server, pool: ConnectionPool) -> None:
    for _ in range(3):
        await ask(pool, server.url)

    assert (len(server.requests), server.connections) == (3, 1)


async def test_requests_at_the_same_time_have_connections_of_their_own(server: Server, pool: ConnectionPool) -> None:
    await asyncio.gather(*(ask(pool, server.url) for _ in range(3)))

    assert (len(server.requests), server.connections) == (3, 3)


async def test_an_idle_connection_is_closed_after_a_while(server: Server) -> None:
    pool = ConnectionPool(None, keep_alive=0.01)

    await ask(pool, server.url)

    await server.left_alone()
    await ask(pool, server.url)
    assert server.connections == 2
    pool.close()


async def test_a_body_that_was_not_read_costs_the_connection(server: Server, pool: ConnectionPool) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    async with pool.exchange("GET", server.url, {}, None):
        pass

    assert await ask(pool, server.url) == b"hello"
    assert server.connections == 2


async def test_a_cancelled_request_costs_the_connection(server: Server, pool: ConnectionPool) -> None:
    server.answer = b""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(pool, server.url)
    server.answer = EMPTY

    await server.left_alone()
    await ask(pool, server.url)
    assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_what_is_idempotent_survives_that_a_kept_connection_ends(
    server: Server, pool: ConnectionPool, method: str
) -> None:
    server.patience = 1

    for _ in range(3):
        await ask(pool, server.url, method)

    assert (len(server.requests), server.connections) == (5, 3)


async def test_what_is_not_idempotent_is_never_sent_twice(server: Server, pool: ConnectionPool) -> None:
    server.patience = 1
    await ask(pool, server.url, "POST")

    with pytest.raises((EOFError, ConnectionError)):
        await ask(pool, server.url, "POST")

    assert len(server.requests) == 2


async def test_a_new_connection_that_ends_is_not_tried_again(server: Server, pool: ConnectionPool) -> None:
    server.patience = 0

    with pytest.raises((EOFError, ConnectionError)):
        await ask(pool, server.url)

    assert len(server.requests) == 1


async def test_closing_ends_what_is_in_progress(server: Server, pool: ConnectionPool) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"

    async def closing() -> None:
        async with pool.exchange("GET", server.url, {}, None) as response:
            async for _ in response.pieces():
                pool.close()

    with pytest.raises((EOFError, ConnectionError)):
        await closing()


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://h/", "http:///x", "http://h:port/", "http://me:pw@h/", "http://[::1"]
)
async def test_what_is_no_address_is_refused(pool: ConnectionPool, url: str) -> None:
    with pytest.raises(InvalidAddressError):
        await ask(pool, url)


async def test_a_host_that_cannot_be_one_has_no_connection(pool: ConnectionPool) -> None:
    with pytest.raises(NoConnectionError):
        await ask(pool, f"http://{'a' * 70}/")


async def test_a_url_is_sent_as_it_must_be_written(server: Server, pool: ConnectionPool) -> None:
    await ask(pool, f"{server.url}a b/ü?q=x y&z=%20#part")

    assert server.requests[0].startswith(b"GET /a%20b/%C3%BC?q=x%20y&z=%20 HTTP/1.1\r\n")
    authority = server.url.removeprefix("http://").rstrip("/").encode()
    assert b"\r\nHost: " + authority + b"\r\n" in server.requests[0]


async def test_an_address_that_refuses_does_not_keep_from_the_next(server: Server, pool: ConnectionPool) -> None:
    # `localhost` is ::1 and 127.0.0.1 on most machines; the server is at the latter only.
    await ask(pool, server.url.replace("127.0.0.1", "localhost"))


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """What a server with a certificate for localhost needs, which we trust as long as it is there."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed to make a certificate")
    key, chain = tmp_path / "key", tmp_path / "chain"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(chain), *subject]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    http_pool._trust.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    yield context
    http_pool._trust.cache_clear()


async def test_a_server_with_a_certificate_for_its_name_is_trusted_and_for_another_is_not(
    certificate: ssl.SSLContext,
) -> None:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=certificate) as listening:
        port = listening.sockets[0].getsockname()[1]
        pool = ConnectionPool(None, keep_alive=30)
        await ask(pool, f"https://localhost:{port}/")
        await ask(pool, f"https://localhost:{port}/")
        with pytest.raises(NoConnectionError) as caught:
            await ask(pool, f"https://127.0.0.1:{port}/")
        pool.close()
        await server.left_alone()

    assert (len(server.requests), server.connections) == (2, 1)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
