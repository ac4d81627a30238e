"""URLs of components, and the one HTTP client.

    construct_url("hermes", "api", "registry/services")     # http://localhost:8001/api/registry/services

    async with HttpClient(socket="/run/tekton/control.sock") as client:
        system = await client.request("GET", "/api/system")

Refusals arrive as the errors of `tekton.utils.tekton_errors`, everything that kept an answer from arriving as
`TransportError`. Redirects are not followed and cookies not kept: a credential goes only where it was sent.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import msgspec

from tekton.utils.http_problems import error_from_answer
from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError, ServerSentEvent
from tekton.utils.tekton_config import component_base_url
from tekton.utils.tekton_errors import ConfigurationError, Mistake, TransportError
from tekton.utils.tekton_ids import did_you_mean

if TYPE_CHECKING:
    import aiohttp

_KINDS = {"api": False, "ws": True, "events": False}
"""The kinds of endpoints, each a path prefix; True for those that speak WebSocket."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
_PIECE = 64 * 1024


def construct_url(component: str, kind: str, path: str = "", *, environ: Mapping[str, str] | None = None) -> str:
    """The URL of an endpoint of a component: *kind* is `api`, `ws` or `events`, *path* what follows it.

    Host and port come from HERMES_URL or HERMES_PORT (for `hermes`), else localhost and the default port. *path* may
    have a query; what a URL cannot hold is percent-encoded. Raises `ConfigurationError` for a component without a
    known port and for an unknown kind.
    """
    if kind not in _KINDS:
        advice = did_you_mean(kind, _KINDS) or f"use one of {', '.join(_KINDS)}"
        raise ConfigurationError([Mistake("construct_url", 0, 0, "", f"unknown kind of endpoint {kind!r}", advice)])
    base = component_base_url(component, environ)
    if _KINDS[kind]:
        base = "ws" + base.removeprefix("http")
    rest = quote(path.lstrip("/"), safe="/?&=%:@!$'()*+,;~")
    return f"{base}/{kind}/{rest}" if rest else f"{base}/{kind}"


class Answer(NamedTuple):
    """An HTTP answer as it came. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """A client of one server, reached at *base_url* or through a Unix *socket*. Use it with `async with`.

    *credential* is sent as a bearer token. *timeout* (seconds) is that of a whole request, unless the call has its own.
    """

    def __init__(
        self,
        base_url: str = "http://localhost",
        *,
        socket: str | Path | None = None,
        credential: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._socket = None if socket is None else str(socket)
        self._headers = {"Accept": "application/json, application/problem+json"}
        if credential is not None:
            self._headers["Authorization"] = f"Bearer {credential}"
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The client opens new ones if it is used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
    ) -> Any:
        """Send a request and return the decoded JSON of the answer, None when it has no body.

        *json* may be a struct; None sends no body. Raises the error that the server reports, `ProblemError` when it
        has no class here, and `TransportError` when there is no answer or an unreadable one.
        """
        answer = await self.send(method, path, json, headers, timeout, query=query)
        if not 200 <= answer.status < 300:
            raise error_from_answer(answer.status, answer.body)
        if not answer.body:
            return None
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TransportError(self._url(path, query), f"the answer is not JSON: {error}") from error

    async def send(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
    ) -> Answer:
        """Like `request`, but the answer comes as it is, whatever its status. At most 32 MiB of it are read."""
        import aiohttp

        url = self._url(path, query)
        limit = self._timeout if timeout is None else timeout
        body, sent = _encoded(json, {**self._headers, **(headers or {})})
        with _translated(url, limit):
            async with self._opened().request(
                method, url, data=body, headers=sent, timeout=aiohttp.ClientTimeout(total=limit), allow_redirects=False
            ) as response:
                received = await _read(response, url)
                return Answer(
                    response.status, {name.lower(): text for name, text in response.headers.items()}, received
                )

    async def stream_events(
        self, path: str, last_event_id: str | None = None, *, query: Mapping[str, str | int | float] | None = None
    ) -> AsyncIterator[ServerSentEvent]:
        """The events of a stream, until the server ends it; then the caller connects anew with the last id.

        The timeout covers the time until the stream begins, not the pauses in it. Wrap the iterator in
        `contextlib.aclosing` where the loop may be left early. Raises like `request`.
        """
        import aiohttp

        url = self._url(path, query)
        headers = {**self._headers, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout)
        parser = EventStreamParser()
        with _translated(url, self._timeout):
            response = await self._begin(url, headers, timeout)
            async with response:
                if response.status != 200:
                    raise error_from_answer(response.status, await _read(response, url))
                async for piece in response.content.iter_any():
                    for event in parser.feed(piece):
                        yield event

    async def _begin(
        self, url: str, headers: dict[str, str], timeout: "aiohttp.ClientTimeout"
    ) -> "aiohttp.ClientResponse":
        async with asyncio.timeout(self._timeout):
            return await self._opened().get(url, headers=headers, timeout=timeout, allow_redirects=False)

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            connector = None if self._socket is None else aiohttp.UnixConnector(self._socket)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _url(self, path: str, query: Mapping[str, str | int | float] | None) -> str:
        if not path.startswith("/"):
            raise ValueError(f"a path begins with '/': {path!r}")
        return f"{self.base_url}{path}" + (f"?{urlencode(query)}" if query else "")


def _encoded(json: object, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
    if json is None:
        return None, headers
    return msgspec.json.encode(json), {"Content-Type": "application/json", **headers}


async def _read(response: "aiohttp.ClientResponse", url: str) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            raise TransportError(url, f"the answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB")
    return bytes(pieces)


@contextlib.contextmanager
def _translated(url: str, timeout: float) -> Iterator[None]:
    """Everything that kept an answer from arriving becomes a `TransportError`."""
    import aiohttp

    try:
        yield
    except TimeoutError as error:
        raise TransportError(url, f"no answer within {timeout:g} s") from error
    except (aiohttp.ClientError, OSError, EventTooLargeError) as error:
        raise TransportError(url, _reason(error)) from error


def _reason(error: Exception) -> str:
    import aiohttp

    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match cause:
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return "no such socket"
        case PermissionError():
            return "not permitted"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionResetError():
            return "the connection was closed before the answer was complete"
    return str(error) or type(error).__name__
