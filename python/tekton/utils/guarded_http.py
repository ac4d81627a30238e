"""Requests to URLs that components, agents or users have given: for webhooks, callbacks and whatever else is called
on somebody's behalf.

    async with GuardedHttp(AddressPolicy(networks)) as client:
        answer = await client.send("POST", url, event)

The URL is read strictly, its name resolved once, and every address that it has is judged by the policy; the connection
goes to one of those very addresses, so that a name which leads elsewhere a moment later gains nothing. `Host` and the
name in TLS are those of the URL. Redirects are not followed, proxies of the environment not used, cookies and
connections not kept, nothing is unpacked. The other side has five seconds for everything, and may say 64 KiB, unless
the client is made for other sizes.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tekton.utils.address_policy import AddressPolicy
from tekton.utils.strict_urls import InvalidUrlError, IPAddress, StrictUrl, parse_url
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer, NotConnectedError, translated

if TYPE_CHECKING:
    import ssl

    import aiohttp
    from aiohttp.abc import AbstractResolver
    from yarl import URL

MAX_ANSWER_BYTES: Final = 64 * 1024
TIMEOUT: Final = 5.0
_MAX_HEADERS: Final = 64
_MAX_HEADER_BYTES: Final = 8 * 1024
_AT_ONCE: Final = 16
"""No more requests at the same time: each may hold a thread that asks for a name."""

_NOT_MODIFIED: Final = 304

_OURS: Final = frozenset({"host", "accept-encoding", "connection", "content-length", "transfer-encoding"})

Resolve = Callable[[str, int], Awaitable[list[IPAddress]]]


class RefusedUrlError(NotConnectedError):
    """A request that is not made: its URL is not accepted, or leads where such requests may not go."""


class RefusedAnswerError(TransportError):
    """An answer that is not taken: a redirect, or more than the client reads."""


class Opened(NamedTuple):
    """An answer of which nothing but the head has come yet. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    pieces: AsyncIterator[bytes]
    """What comes, as it comes, until that is more than the client takes: then TransportError is raised."""


class GuardedHttp:
    """See the module. *resolve* gives the addresses of a name, *tls* replaces the usual certificates.

    *timeout* is in seconds; *max_answer* is how many bytes the other side may say, *at_once* how many requests are
    under way at the same time.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        timeout: float = TIMEOUT,
        max_answer: int = MAX_ANSWER_BYTES,
        at_once: int = _AT_ONCE,
        resolve: Resolve | None = None,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._max_answer = max_answer
        self._at_once = at_once
        self._resolve = resolve or _resolve
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is open. The client can be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request and return the answer, whatever its status, but for redirects.

        Raises RefusedUrlError when it must not be sent, and TransportError when there is no acceptable answer.
        """
        async with self.open(method, url, body, headers, timeout) as opened:
            return Answer(opened.status, opened.headers, b"".join([piece async for piece in opened.pieces]))

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        max_answer: int | None = None,
    ) -> AsyncIterator[Opened]:
        """`send`, without waiting for more than the head of the answer. The time runs until the block is left.

        Raises like `send`; within the block, too.
        """
        parsed = self._checked(url)
        place, target = parsed.origin, _as_yarl(parsed)
        limit = self._timeout if timeout is None else timeout
        most = self._max_answer if max_answer is None else max_answer
        sent = {name: text for name, text in (headers or {}).items() if name.lower() not in _OURS}
        with translated(place, limit):
            async with (
                asyncio.timeout(limit),
                self._opened().request(method, target, data=body, headers=sent, allow_redirects=False) as response,
            ):
                if 300 <= response.status < 400 and response.status != _NOT_MODIFIED:
                    raise RefusedAnswerError(place, f"answered {response.status}: redirects are not followed")
                told = {name.lower(): text for name, text in response.headers.items()}
                async with aclosing(_pieces(response, place, most)) as pieces:
                    yield Opened(response.status, told, pieces)

    async def check(self, url: str) -> StrictUrl:
        """The parts of *url*, to which requests may go as its name is known now; they are judged anew when they go.

        Raises RefusedUrlError, and NotConnectedError for a name without an address.
        """
        parsed = self._checked(url)
        if parsed.address is None:
            with translated(parsed.origin, self._timeout):
                async with asyncio.timeout(self._timeout):
                    await self._addresses(parsed.host, parsed.port)
        return parsed

    def _checked(self, text: str) -> StrictUrl:
        try:
            url = parse_url(text)
        except InvalidUrlError as error:
            raise RefusedUrlError("the URL", str(error)) from None
        if url.address is not None:
            self._check(url, [url.address])
        return url

    def _check(self, url: StrictUrl, addresses: list[IPAddress]) -> None:
        problems = [problem for one in addresses if (problem := self._policy.problem(one, url.port)) is not None]
        if problems:
            raise RefusedUrlError(url.origin, f"requests may not go there: it leads to {problems[0]}")
        if not addresses:
            raise NotConnectedError(url.origin, "the name has no address")

    async def _addresses(self, host: str, port: int) -> list[IPAddress]:
        addresses = await self._resolve(host, port)
        self._check(StrictUrl("http", host, port, ""), addresses)
        return addresses

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_resolver(self._addresses),
                use_dns_cache=False,
                force_close=True,
                limit=self._at_once,
                ssl=True if self._tls is None else self._tls,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": "tekton", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
                read_bufsize=MAX_ANSWER_BYTES,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                max_headers=_MAX_HEADERS,
            )
        return self._session


async def _resolve(host: str, port: int) -> list[IPAddress]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An address of the local link comes with its interface, which does not change where it belongs.
    return list(dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in found))


def _resolver(addresses: Resolve) -> "AbstractResolver":
    """What asks for names in place of aiohttp: it connects to nothing that has not been judged."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Judged(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002
            families = {4: socket.AF_INET, 6: socket.AF_INET6}
            return [
                ResolveResult(hostname=host, host=str(one), port=port, family=families[one.version], proto=0, flags=0)
                for one in await addresses(host, port)
            ]

        async def close(self) -> None:
            return

    return Judged()


def _as_yarl(url: StrictUrl) -> "URL":
    """The same for aiohttp. The two must agree: what is judged is what is called."""
    from yarl import URL

    built = URL(str(url), encoded=True)
    if (built.scheme, built.host, built.port, built.user) != (url.scheme, url.host, url.port, None):
        raise RefusedUrlError(url.origin, "the URL can be read in more than one way")
    return built


async def _pieces(response: "aiohttp.ClientResponse", url: str, most: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for piece in response.content.iter_any():
        received += len(piece)
        if received > most:
            raise RefusedAnswerError(url, f"the answer is larger than {most // 1024} KiB")
        yield piece
