"""Requests to URLs of strangers, against real sockets: where they go, and what the other side may do to us."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tekton.utils.address_policy import AddressPolicy
from tekton.utils.guarded_http import GuardedHttp, RefusedUrlError, Resolve
from tekton.utils.strict_urls import IPAddress
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import NotConnectedError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HERE = AddressPolicy([ip_network("127.0.0.1")])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server of the test's own on one address; `requests` holds the heads that it has got."""

    def __init__(self, serve: Serve | bytes) -> None:
        self._serve = serve
        self.requests: list[str] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if isinstance(self._serve, bytes):
                writer.write(self._serve)
            else:
                await self._serve(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    serve: Serve | bytes, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(serve)
    listener = await asyncio.start_server(server, host, port, ssl=tls)
    async with listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server


def resolving(*answers: str) -> tuple[Resolve, list[str]]:
    """A resolver that gives each of *answers* (addresses, with blanks between them) once; and what it was asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[IPAddress]:
        asked.append(host)
        return [ip_address(text) for text in answers[min(len(asked), len(answers)) - 1].split()]

    return resolve, asked


NEVER_CALLED = [
    # Not even the beginning of a URL that we would call.
    *("", "callback", "//127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_INFO", "ftp://127.0.0.1/", "ws://h/"),
    *("unix:///run/docker.sock", "dict://127.0.0.1:11211/", "jar:http://h!/", "data:text/plain,x", "HTTP://127.0.0.1/"),
    # This machine, in all its notations.
    *("http://127.0.0.1/", "http://127.0.0.1:22/", "http://127.255.255.254/", "http://0.0.0.0/", "http://0.0.0.0:8010/"),
    *("http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/"),
    *("http://[::ffff:7f00:1]/", "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/"),
    *("http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://017700000001/"),
    *("http://127.1/", "http://127.0.1/", "http://127.0.0.1./", "http://0/", "http://127.0.0.01/", "http://%31%32%37.0.0.1/"),
    *("http://127。0。0。1/", "http://\u2460\u2461\u2466.0.0.1/", "http://\uff4cocalhost/", "http://localho\u017ft/"),
    # Networks behind us, and the metadata services of clouds.
    *("http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://100.64.0.1/", "http://[fd00::1]/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/"),
    *("http://100.100.100.200/", "http://168.63.129.16/", "http://2852039166/", "http://[fe80::1]/", "http://[fe80::1%25lo]/"),
    *("http://224.0.0.1/", "http://255.255.255.255/", "http://[ff02::1]/", "http://240.0.0.1/", "http://198.18.0.1/"),
    # User-info, characters that split a request, ports of other protocols.
    *("http://me:pw@1.1.1.1/", "http://1.1.1.1@127.0.0.1/", "http://1.1.1.1\\@127.0.0.1/", "http://1.1.1.1#@127.0.0.1/"),
    *("http://1.1.1.1/\r\nX: 1", "http://1.1.1.1\t/", "http://1.1.1.1/%0d%0aX:1", "http://1.1.1.1 /", "http://1.1.1.1:/"),
    *("http://1.1.1.1:22/", "http://1.1.1.1:25/", "http://1.1.1.1:6379/", "http://1.1.1.1:0/", "http://1.1.1.1:65536/"),
    "http://1.1.1.1/" + "x" * 2048,
]  # fmt: skip


@pytest.mark.parametrize("url", NEVER_CALLED)
async def test_no_connection_is_made_to_where_it_may_not_go(url: str) -> None:
    resolve, asked = resolving("127.0.0.1")

    async with GuardedHttp(AddressPolicy(), resolve=resolve) as client:
        with pytest.raises(RefusedUrlError):
            await client.send("GET", url)

    assert asked == []


@pytest.mark.parametrize(
    "addresses",
    ["127.0.0.1", "10.0.0.1", "::1", "1.1.1.1 127.0.0.1", "1.1.1.1 ::ffff:10.0.0.1", "2606:4700::1111 169.254.169.254"],
)
async def test_a_name_is_refused_when_any_of_its_addresses_is(addresses: str) -> None:
    resolve, asked = resolving(addresses)

    async with GuardedHttp(AddressPolicy(), resolve=resolve) as client:
        with pytest.raises(RefusedUrlError, match="requests may not go there"):
            await client.send("GET", "http://hooks.example/")

    assert asked == ["hooks.example"]


async def test_names_of_this_machine_are_refused_by_the_real_resolver() -> None:
    async with GuardedHttp(AddressPolicy()) as client:
        with pytest.raises(RefusedUrlError, match="leads to this machine"):
            await client.send("GET", "http://localhost/")


async def test_a_name_without_an_address_is_told() -> None:
    async def nothing(host: str, port: int) -> list[IPAddress]:
        return []

    async with GuardedHttp(AddressPolicy(), resolve=nothing) as client:
        with pytest.raises(NotConnectedError, match="has no address"):
            await client.send("GET", "http://hooks.example/")


async def test_an_opened_network_is_called_with_the_host_of_the_url() -> None:
    resolve, _ = resolving("127.0.0.1")

    async with serving(OK) as server, GuardedHttp(HERE, resolve=resolve) as client:
        url = f"http://hooks.example:{server.port}/a?b=%20c"
        answer = await client.send("POST", url, b"{}", {"X-Event": "1", "Host": "evil", "Accept-Encoding": "gzip"})

    assert (answer.status, answer.body) == (200, b"ok")
    head = server.requests[0]
    assert head.startswith("POST /a?b=%20c HTTP/1.1\r\n")
    assert f"Host: hooks.example:{server.port}\r\n" in head
    assert "X-Event: 1\r\n" in head
    assert "evil" not in head
    assert "Accept-Encoding: identity\r\n" in head


async def test_a_port_of_a_registered_component_is_open_and_no_other() -> None:
    async with serving(OK) as component, serving(OK) as other:
        policy = AddressPolicy(local_ports=lambda: {component.port})
        async with GuardedHttp(policy) as client:
            answer = await client.send("GET", f"http://127.0.0.1:{component.port}/hook")
            with pytest.raises(RefusedUrlError):
                await client.send("GET", f"http://127.0.0.1:{other.port}/hook")

    assert answer.status == 200
    assert other.requests == []


async def test_a_name_that_changes_its_address_leads_to_the_one_that_was_judged() -> None:
    resolve, asked = resolving("127.0.0.1", "127.0.0.2", "127.0.0.2")
    async with (
        serving(OK) as good,
        serving(OK, "127.0.0.2", good.port) as secret,
        GuardedHttp(HERE, resolve=resolve) as client,
    ):
        answer = await client.send("GET", f"http://hooks.example:{good.port}/")
        asked_once = list(asked)
        with pytest.raises(RefusedUrlError):
            await client.send("GET", f"http://hooks.example:{good.port}/")

    assert answer.status == 200
    assert asked_once == ["hooks.example"]
    assert (len(good.requests), secret.requests) == (1, [])


async def test_an_address_that_does_not_answer_gives_way_to_another_that_was_judged() -> None:
    resolve, _ = resolving("127.0.0.3 127.0.0.1")
    policy = AddressPolicy([ip_network("127.0.0.0/29")])

    async with serving(OK) as server, GuardedHttp(policy, resolve=resolve) as client:
        assert (await client.send("GET", f"http://hooks.example:{server.port}/")).status == 200


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(OK) as proxy, serving(OK) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with GuardedHttp(HERE) as client:
            await client.send("GET", f"http://127.0.0.1:{server.port}/")

    assert (len(server.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_error_and_not_followed(status: str) -> None:
    async with serving(OK) as secret:
        redirect = f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{secret.port}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(redirect.encode()) as server, GuardedHttp(HERE) as client:
            with pytest.raises(TransportError, match="redirects are not followed"):
                await client.send("GET", f"http://127.0.0.1:{server.port}/")

    assert secret.requests == []


async def test_cookies_are_not_kept() -> None:
    async with serving(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")) as server, GuardedHttp(HERE) as client:
        for _ in range(2):
            await client.send("GET", f"http://127.0.0.1:{server.port}/")

    assert "cookie" not in server.requests[1].lower()


async def _endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


async def _chunked(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("serve", [_endless, _chunked])
async def test_an_answer_of_ten_gigabytes_is_cut_after_64_kib(serve: Serve) -> None:
    async with serving(serve) as server, GuardedHttp(HERE) as client:
        with pytest.raises(TransportError, match="larger than 64 KiB"):
            await client.send("GET", f"http://127.0.0.1:{server.port}/")


async def test_an_answer_that_trickles_is_given_up() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-2])
        await writer.drain()
        await reader.read()

    async with serving(trickle) as server, GuardedHttp(HERE, timeout=0.1) as client:
        with pytest.raises(TransportError, match=r"no answer within 0\.1 s"):
            await client.send("GET", f"http://127.0.0.1:{server.port}/")


async def test_heads_without_end_are_given_up() -> None:
    async def busy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()

    async with serving(busy) as server, GuardedHttp(HERE, timeout=0.2) as client:
        with pytest.raises(TransportError):
            await client.send("GET", f"http://127.0.0.1:{server.port}/")


async def test_nothing_is_unpacked() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"

    async with serving(head.encode() + bomb) as server, GuardedHttp(HERE) as client:
        answer = await client.send("GET", f"http://127.0.0.1:{server.port}/")

    assert answer.body == bomb


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
        b"HTTP/1.1 200 " + b"y" * 1_000_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["many", "long", "reason", "other protocol"],
)
async def test_a_head_that_is_too_much_is_refused(head: bytes) -> None:
    async with serving(head + b"\r\n\r\n") as server, GuardedHttp(HERE) as client:
        with pytest.raises(TransportError):
            await client.send("GET", f"http://127.0.0.1:{server.port}/")


async def test_paths_of_webhooks_are_not_shown() -> None:
    async with GuardedHttp(HERE) as client:
        with pytest.raises(TransportError) as caught:
            await client.send("GET", "http://127.0.0.1:1/services/planted-violet?token=planted-violet")
    assert "planted-violet" not in str(caught.value)


def _certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server called hooks.example, and for a client that trusts it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = directory / "server.pem"
    plain = serialization.NoEncryption()
    pem.write_bytes(
        certificate + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(pem)
    return ours, ssl.create_default_context(cadata=certificate.decode())


async def test_tls_names_and_checks_the_host_of_the_url(tmp_path: Path) -> None:
    ours, theirs = _certificate(tmp_path)
    named: list[str | None] = []
    ours.sni_callback = lambda _socket, name, _context: named.append(name)
    resolve, _ = resolving("127.0.0.1")

    async with serving(OK, tls=ours) as server, GuardedHttp(HERE, resolve=resolve, tls=theirs) as client:
        answer = await client.send("GET", f"https://hooks.example:{server.port}/")
        with pytest.raises(TransportError):
            await client.send("GET", f"https://other.example:{server.port}/")

    assert answer.status == 200
    assert named == ["hooks.example", "other.example"]
    assert len(server.requests) == 1


async def test_what_has_not_changed_is_no_redirect() -> None:
    async with serving(b"HTTP/1.1 304 Not Modified\r\n\r\n") as server, GuardedHttp(HERE) as client:
        answer = await client.send("GET", f"http://127.0.0.1:{server.port}/", headers={"If-None-Match": '"1"'})

    assert (answer.status, answer.body) == (304, b"")


async def test_a_url_is_judged_without_being_called() -> None:
    resolve, asked = resolving("127.0.0.1", "10.0.0.1", "")
    async with serving(OK) as server, GuardedHttp(HERE, resolve=resolve) as client:
        assert (await client.check(f"http://agents.example:{server.port}/rpc")).host == "agents.example"
        with pytest.raises(RefusedUrlError, match="a private network"):
            await client.check("http://agents.example/")
        with pytest.raises(NotConnectedError, match="no address"):
            await client.check("http://agents.example/")
        with pytest.raises(RefusedUrlError):
            await client.check("http://169.254.169.254/")

    assert (server.requests, len(asked)) == ([], 3)


def test_loopback_is_an_address_like_others() -> None:
    assert HERE.problem(IPv4Address("127.0.0.2"), 80) == "this machine"
