"""URLs of components, and the one HTTP client.

    construct_url("hermes", "api", "registry/services")     # http://localhost:8001/api/registry/services

    async with HttpClient(socket="/run/tekton/control.sock") as client:
        system = await client.request("GET", "/api/system")

Refusals arrive as the errors of `tekton.utils.tekton_errors`, everything that kept an answer from arriving as
`TransportError`: `NotConnectedError` when the server has certainly not seen the request. Connections are kept open for
a moment and used again. A request is sent once, unless the client has `Retries`; they never send twice what may have
arrived and is not idempotent, by its method or by an `Idempotency-Key`. Redirects are not followed and cookies not
kept: a credential goes only where it was sent. A request made in the course of a trace says so (`traceparent`).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import msgspec

from tekton.core.tracing.tracer import OpenSpan, Unrecorded, span
from tekton.utils.http_problems import error_from_answer
from tekton.utils.random_uuid import random_uuid
from tekton.utils.retries import KEY_HEADER, PASSING, Retries, is_harmless
from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError, ServerSentEvent
from tekton.utils.tekton_config import component_base_url
from tekton.utils.tekton_errors import ConfigurationError, Mistake, TransportError
from tekton.utils.tekton_ids import did_you_mean
from tekton.utils.trace_context import CURRENT

if TYPE_CHECKING:
    import aiohttp

_KINDS = {"api": False, "ws": True, "events": False}
"""The kinds of endpoints, each a path prefix; True for those that speak WebSocket."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
_PIECE = 64 * 1024
_REFUSED = 401
_BAD_REQUEST = 400
_CONFLICT = 409
_READS = frozenset({"GET", "HEAD", "OPTIONS"})

CONNECT_TIMEOUT = 3.0
"""Seconds within which a connection to an address must come about, or less where the request has less."""

KEEP_ALIVE = 5.0
"""Seconds for which an idle connection is kept: less than our servers do, so that they do not close one just used."""


class NotConnectedError(TransportError):
    """No connection came about, so the server has certainly not seen the request."""


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

    *credential* is sent as a bearer token. When the server refuses it (401), *renewed* is asked for another one, and
    the request sent once more with that. *timeout* (seconds) is that of a whole request, all *retries* included, unless
    the call has its own. *keys*: the server heeds idempotency keys, as the control plane does; so with *retries* each
    write gets one of its own, unless the call gives it one. *max_answer* is how many bytes of an answer are read.
    """

    def __init__(
        self,
        base_url: str = "http://localhost",
        *,
        socket: str | Path | None = None,
        credential: str | None = None,
        renewed: Callable[[], str | None] | None = None,
        timeout: float = 10.0,
        retries: Retries | None = None,
        keys: bool = False,
        max_answer: int | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"Accept": "application/json, application/problem+json", "User-Agent": "tekton"}
        if credential is not None:
            self._headers["Authorization"] = f"Bearer {credential}"
        self._renewed = renewed
        self._timeout = timeout
        self._max_answer = max_answer
        self._retries = retries
        self._keys = keys
        self._connections = _Connections(None if socket is None else str(socket))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The client opens new ones if it is used again."""
        await self._connections.close()

    def at(self, base_url: str) -> "HttpClient":
        """A client of another server that shares the connections of this one, but not its credential.

        Raises ValueError for a client of a Unix socket: all that its connections lead to is that.
        """
        if self._connections.socket is not None:
            raise ValueError("a client of a Unix socket has no connections to other servers")
        other = HttpClient(base_url, timeout=self._timeout, retries=self._retries)
        other._connections = self._connections
        return other

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
        return decoded(await self.send(method, path, json, headers, timeout, query=query), self._url(path, query))

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
        url = self._url(path, query)
        limit = self._timeout if timeout is None else timeout
        given = dict(headers or {})
        if self._keys and self._retries is not None and not _has_key(method, given):
            given[KEY_HEADER] = random_uuid()

        async def attempt() -> Answer:
            body, sent = _encoded(json, {**self._headers, **given})
            if self._retries is None:
                return await self._send(method, url, body, sent, limit)
            return await self._send_until(self._retries, limit, method, url, body=body, headers=sent)

        shown = self._headers.get("Authorization")
        answer = await attempt()
        return await attempt() if answer.status == _REFUSED and self._has_renewed(shown) else answer

    def _has_renewed(self, refused: str | None) -> bool:
        """True when there is another credential than that in the header which was *refused*; it is sent from now on."""
        credential = None if self._renewed is None else self._renewed()
        if credential is None:
            return False
        self._headers["Authorization"] = f"Bearer {credential}"
        return self._headers["Authorization"] != refused

    async def _send_until(
        self, retries: Retries, limit: float, method: str, url: str, *, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        now = asyncio.get_running_loop().time
        deadline = now() + limit
        retries.earn()
        failures = 0
        while True:
            failures += 1
            try:
                outcome: Answer | TransportError = await self._send(method, url, body, headers, deadline - now())
            except TransportError as error:
                outcome = error
            delay = _delay_before_another(retries, outcome, failures, harmless=is_harmless(method, headers))
            if delay is None or now() + delay >= deadline or not retries.spend():
                if isinstance(outcome, TransportError):
                    raise outcome
                return outcome
            await asyncio.sleep(delay)

    async def _send(self, method: str, url: str, body: bytes | None, headers: dict[str, str], limit: float) -> Answer:
        with span(method, "client") as made, translated(url, limit):
            async with (
                asyncio.timeout(limit),
                self._connections.session().request(
                    method, url, data=body, headers=_in_trace(headers), allow_redirects=False
                ) as response,
            ):
                _note(made, method, response)
                received = await _read(response, url, self._max_answer)
                return Answer(
                    response.status, {name.lower(): text for name, text in response.headers.items()}, received
                )

    async def stream_events(
        self,
        path: str,
        last_event_id: str | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
        silence: float | None = None,
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """The events of a stream, until the server ends it; then the caller connects anew with the last id.

        The timeout covers the time until the stream begins, not the pauses in it: those may be *silence* seconds long,
        if it is given. Wrap the iterator in
        `contextlib.aclosing` where the loop may be left early. Raises like `request`.
        """
        url = self._url(path, query)
        headers = {**self._headers, "Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        parser = EventStreamParser()
        patience = _patience(silence)
        with translated(url, self._timeout):
            async with asyncio.timeout(self._timeout):
                response = await self._connections.session().get(
                    url, headers=headers, allow_redirects=False, timeout=patience
                )
            if response.status == _REFUSED and self._has_renewed(headers.get("Authorization")):
                response.close()
                async with asyncio.timeout(self._timeout):
                    renewed = {**headers, "Authorization": self._headers["Authorization"]}
                    response = await self._connections.session().get(
                        url, headers=renewed, allow_redirects=False, timeout=patience
                    )
            async with response:
                if response.status != 200:
                    raise error_from_answer(response.status, await _read(response, url, self._max_answer))
                async for piece in response.content.iter_any():
                    for event in parser.feed(piece):
                        yield event

    def _url(self, path: str, query: Mapping[str, str | int | float] | None) -> str:
        if not path.startswith("/"):
            raise ValueError(f"a path begins with '/': {path!r}")
        return f"{self.base_url}{path}" + (f"?{urlencode(query)}" if query else "")


class _Connections:
    """Those of a client, opened when needed. With *socket* they all lead to that Unix socket, whatever a URL says."""

    def __init__(self, socket: str | None) -> None:
        self.socket = socket
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            connector = (
                aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE)
                if self.socket is None
                else aiohttp.UnixConnector(self.socket, keepalive_timeout=KEEP_ALIVE)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_patience(None),
            )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _in_trace(headers: dict[str, str]) -> dict[str, str]:
    """*headers*, and that of the trace to which the request belongs, if any."""
    context = CURRENT.get()
    return headers if context is None else {**headers, **context.headers()}


def _note(made: OpenSpan | Unrecorded, method: str, response: "aiohttp.ClientResponse") -> None:
    if made.recorded:
        made.put(
            {
                "http.request.method": method,
                "http.response.status_code": response.status,
                "server.address": response.url.host or "",
                "server.port": response.url.port or 0,
                "url.path": response.url.path,
            }
        )
        if response.status >= _BAD_REQUEST:
            made.fail(f"answered with {response.status}")


def _patience(silence: float | None) -> "aiohttp.ClientTimeout":
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)


def decoded(answer: Answer, url: str) -> Any:
    """What `HttpClient.request` makes of an answer from *url*. Raises like it."""
    if not 200 <= answer.status < 300:
        raise error_from_answer(answer.status, answer.body)
    if not answer.body:
        return None
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransportError(url, f"the answer is not JSON: {error}") from error


def _delay_before_another(
    retries: Retries, outcome: Answer | TransportError, failures: int, *, harmless: bool
) -> float | None:
    """Seconds to wait before the request is sent again; None when it must not be, or need not."""
    if failures >= retries.attempts:
        return None
    if isinstance(outcome, TransportError):
        return retries.delay(failures) if harmless or isinstance(outcome, NotConnectedError) else None
    told = outcome.headers.get("retry-after", "")
    # A conflict that passes: the first request with this key is still being carried out.
    passing = outcome.status in PASSING or (outcome.status == _CONFLICT and told)
    if not (harmless and passing):
        return None
    return max(retries.delay(failures), float(told) if told.isdecimal() else 0.0)


def _has_key(method: str, headers: Mapping[str, str]) -> bool:
    """True when the request has a key already, or needs none."""
    return method in _READS or any(name.lower() == KEY_HEADER.lower() for name in headers)


def _encoded(json: object, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
    if json is None:
        return None, headers
    return msgspec.json.encode(json), {"Content-Type": "application/json", **headers}


async def _read(response: "aiohttp.ClientResponse", url: str, max_answer: int | None) -> bytes:
    limit = MAX_ANSWER_BYTES if max_answer is None else max_answer
    received = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        received += piece
        if len(received) > limit:
            raise TransportError(url, f"the answer is larger than {limit / 2**20:g} MiB")
    return bytes(received)


@contextlib.contextmanager
def translated(url: str, timeout: float) -> Iterator[None]:
    """Everything that kept an answer from arriving becomes a `TransportError`."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise NotConnectedError(url, why_not_connected(error)) from error
    except TimeoutError as error:
        raise TransportError(url, f"no answer within {timeout:g} s") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError) as error:
        raise TransportError(url, "the connection was closed before the answer was complete") from error
    except (aiohttp.ClientError, OSError, EventTooLargeError) as error:
        raise TransportError(url, str(error) or type(error).__name__) from error


def why_not_connected(error: "aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError") -> str:
    """The reason in a few words."""
    match cause := getattr(error, "os_error", error):
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return "no such socket"
        case PermissionError():
            return "not permitted"
        case TimeoutError():
            return "no connection came about in time"
    return str(cause) or type(cause).__name__
