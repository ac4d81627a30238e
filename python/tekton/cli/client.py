"""The control plane over HTTP, for one-shot commands: standard library, blocking, one connection per request.

Where it is: `--url`; else TEKTON_URL, unless the command names a data directory or a configuration; else the Unix
socket in the data directory, which needs no credential; else the address that the control plane has written beside it,
with the owner's credential; else, with `tekton.mdns`, the local network. No other address is guessed: on the configured
port, somebody else's may listen.
"""

import codecs
import http.client
import json
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from tekton.cli.instance import Instance
from tekton.cli.options import Target
from tekton.cli.problems import NotInTimeError
from tekton.cli.render import say
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError, ServerSentEvent
from tekton.utils.tekton_errors import ConfigurationError, Mistake, TransportError

if TYPE_CHECKING:
    from tekton.utils.control_plane import ControlPlane
    from tekton.utils.tekton_config import TektonConfig

ANSWER_TIMEOUT = 30.0
"""Seconds within which an ordinary request must be answered."""

READ_TIMEOUT = 10.0
"""Seconds within which a plain read must be answered."""

_TELL_AFTER = 2.0
_LOOK_EVERY = 0.05

_PIECE_BYTES = 64 * 1024

Connect = Callable[[float | None], http.client.HTTPConnection]


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost")
        self._path = path
        self._limit = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        self.sock.connect(self._path)


class Client:
    """Requests to one control plane.

    Every method raises TransportError when it cannot be reached or answers something unreadable, NotInTimeError
    when it takes too long, and when it refuses the error that the control plane itself had raised, or ProblemError.
    """

    def __init__(
        self,
        connect: Connect,
        address: str,
        *,
        prefix: str = "",
        token: str | None = None,
        instance: Instance | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.address = address
        self._connect = connect
        self._instance = instance
        self._prefix = prefix
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clock = clock
        self._delay_told = False

    def await_restart(self, within: float) -> None:
        """Return when the control plane can be reached. While its guard starts it, up to *within* seconds pass."""
        never, until = threading.Event(), self._clock.monotonic() + within
        while not self._reachable(within) and self._clock.monotonic() < until:
            if self._instance is None or self._instance.owner_pid is None:
                return
            never.wait(_LOOK_EVERY)

    def _reachable(self, timeout: float) -> bool:
        connection = self._connect(timeout)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def get(self, path: str, query: Mapping[str, object] | None = None, *, timeout: float | None = READ_TIMEOUT) -> Any:
        """The JSON answer to a GET request. *timeout* in seconds; None waits for ever."""
        return self._answer("GET", path, query, timeout)

    def text(
        self, path: str, query: Mapping[str, object] | None = None, *, timeout: float | None = ANSWER_TIMEOUT
    ) -> Iterator[str]:
        """The text that answers a GET request, piece by piece. *timeout* in seconds is for each piece."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._exchange("GET", _target(path, query), {}, timeout) as exchange:
            while piece := exchange.response.read1(_PIECE_BYTES):
                yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)

    def post(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, object] | None = None,
        timeout: float | None = ANSWER_TIMEOUT,
    ) -> Any:
        """The JSON answer to a POST request. *timeout* in seconds; None waits for ever."""
        return self._answer("POST", path, query, timeout, body)

    def put(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, object],
        timeout: float | None = ANSWER_TIMEOUT,
    ) -> Any:
        """The JSON answer to a PUT request. *timeout* in seconds; None waits for ever."""
        return self._answer("PUT", path, query, timeout, body)

    def delete(self, path: str, *, timeout: float | None = ANSWER_TIMEOUT) -> Any:
        """The JSON answer to a DELETE request. *timeout* in seconds; None waits for ever."""
        return self._answer("DELETE", path, None, timeout)

    def stream(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, object] | None = None,
        last_event_id: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[ServerSentEvent]:
        """Server-sent events until the server ends the stream. With a *body* it is asked for by POST.

        Raises NotInTimeError when *deadline* (on the monotonic clock) passes, however often keep-alives come.
        """
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        parser = EventStreamParser()
        with self._exchange(method, _target(path, query), headers, self._remaining(deadline), data) as exchange:
            for piece in self._pieces(exchange, deadline):
                yield from parser.feed(piece)

    def _pieces(self, exchange: "_Exchange", deadline: float | None) -> Iterator[bytes]:
        while True:
            exchange.socket.settimeout(self._remaining(deadline))
            piece = exchange.response.read1(_PIECE_BYTES)
            if not piece:
                return
            yield piece

    def _remaining(self, deadline: float | None) -> float | None:
        if deadline is None:
            return None
        return max(deadline - self._clock.monotonic(), 0.001)  # 0 would mean: do not block

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        timeout: float | None,
        body: Mapping[str, object] | None = None,
    ) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with self._exchange(method, _target(path, query), headers, timeout, data) as exchange:
            try:
                return json.loads(exchange.response.read())
            except ValueError as error:
                raise TransportError(self.address, f"the answer is not JSON ({error})") from error

    @contextmanager
    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], timeout: float | None, body: bytes | None = None
    ) -> Iterator["_Exchange"]:
        connection = self._connect(timeout)
        try:
            connection.connect()
            opened = connection.sock
            _send(connection, method, self._prefix + target, body, {**self._headers, **headers})
            if timeout == READ_TIMEOUT:
                self._tell_of_delay(opened)
            response = connection.getresponse()
            if response.status >= 400:
                _refuse(response.status, response.read())
            yield _Exchange(opened, response)
        except TimeoutError as error:
            raise self._late(timeout) from error
        except (OSError, http.client.HTTPException, EventTooLargeError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _tell_of_delay(self, opened: socket.socket) -> None:
        """Say, once, that the answer to a plain read is late."""
        if self._instance is None or self._delay_told:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(opened, selectors.EVENT_READ)
            if selector.select(_TELL_AFTER):
                return
        self._delay_told = True
        opened.settimeout(max(READ_TIMEOUT - _TELL_AFTER, 0.001))
        say(f"the control plane does not answer yet; giving up after {READ_TIMEOUT:g} s")

    def _late(self, timeout: float | None) -> NotInTimeError:
        error = NotInTimeError(self.address, timeout or 0.0)
        error.hint = self._way_out()
        return error

    def _way_out(self) -> str | None:
        """What to do about a control plane that is there and does not answer; None when nothing is known of it."""
        owner = None if self._instance is None else self._instance.owner_pid
        if self._instance is None or owner is None:
            return None
        down = f"tekton down --data-dir {self._instance.data_dir}"
        return f"{down} ends it" + (f", by way of its guard (process {owner})" if owner else "")

    def _unreachable(self, error: Exception) -> TransportError:
        reason = error.strerror if isinstance(error, OSError) else None
        text = f"Tekton does not answer ({reason or str(error) or type(error).__name__})"
        if self._instance is None:
            return TransportError(self.address, text)
        if self._instance.owner_pid is None:
            return _nothing_runs(self._instance)
        answer = TransportError(self.address, text)
        answer.hint = f"it is being started, or started again: try again in a moment, or read {self._instance.log}"
        return answer


class _Exchange(NamedTuple):
    """A request that was answered. The socket is kept: the connection lets go of it when the server will close."""

    socket: socket.socket
    response: http.client.HTTPResponse


def connect(target: Target) -> Client:
    """A client of the control plane that *target* means. Nothing is sent yet.

    Raises TransportError when none runs in the data directory, and ConfigurationError when the directory has to be
    looked up in a configuration that is wrong.
    """
    if target.url is not None:
        return _tcp(target.url, _credential_for_url(target))
    instance = Instance(data_dir(target))
    if instance.socket.exists():
        path = str(instance.socket)
        return Client(lambda timeout: UnixConnection(path, timeout), path, instance=instance)
    if instance.url is not None:
        return _tcp(instance.url, instance.credential, instance)
    announced = None if target.data_dir is not None else _announced(target)
    if announced is not None:
        return _tcp(announced, None)
    raise _nothing_runs(instance)


def control_plane(target: Target) -> "ControlPlane":
    """Where the control plane that *target* means is, for what speaks more than HTTP. Raises as `connect`."""
    from tekton.utils.control_plane import ControlPlane

    if target.url is not None:
        return ControlPlane(target.url, credential=_credential_for_url(target))
    instance = Instance(data_dir(target))
    if instance.socket.exists():
        return ControlPlane(socket=instance.socket)
    if instance.url is not None:
        return ControlPlane(instance.url, credential=instance.credential)
    announced = None if target.data_dir is not None else _announced(target)
    if announced is not None:
        return ControlPlane(announced)
    raise _nothing_runs(instance)


def data_dir(target: Target) -> Path:
    """The data directory that *target* names, or that its configuration does."""
    if target.data_dir is not None:
        return target.data_dir
    from tekton.utils.data_dir import find_data_dir

    try:
        return find_data_dir(target.config)
    except ConfigurationError as error:
        error.hint = "with --data-dir DIR the configuration is not needed"
        raise


def load_config(target: Target, **overrides: object) -> "TektonConfig":
    """The configuration that *target* means, with settings from the command line (None is not given).

    Raises ConfigurationError with all that is wrong with it.
    """
    from tekton.utils.tekton_config import TektonConfig

    return TektonConfig.load(target.config, {"data_dir": target.data_dir, **overrides})


def _announced(target: Target) -> str | None:
    """The control plane that announces itself on the local network, where `tekton.mdns` asks for looking there.

    Anybody may have announced it: it gets no credential, and is named to the person.
    """
    try:
        if not load_config(target).mdns:
            return None
    except ConfigurationError:
        return None  # it has not kept anybody from finding the data directory either
    import asyncio

    from tekton.utils.mdns import browse

    url = asyncio.run(browse())
    if url is not None:
        say(f"nothing runs here; {url} was found on the local network")
    return url


def _credential_for_url(target: Target) -> str | None:
    """Beside TEKTON_URL, TEKTON_CREDENTIAL_FILE counts, as it does for components; beside --url, --data-dir."""
    if target.url_is_from_environment:
        from tekton.utils.tekton_config import component_environment

        return component_environment().credential()
    return None if target.data_dir is None else Instance(target.data_dir).credential


def _tcp(url: str, token: str | None, instance: Instance | None = None) -> Client:
    host, port, prefix, secure = _parts(url)
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return Client(lambda timeout: kind(host, port, timeout=timeout), url, prefix=prefix, token=token, instance=instance)


def _parts(url: str) -> tuple[str, int | None, str, bool]:
    """Host, port, path and whether TLS is wanted. Raises ConfigurationError for what is no http URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.hostname, parts.port, parts.path.rstrip("/"), parts.scheme == "https"
    except ValueError:
        pass  # a port that is no number
    advice = "write it like http://127.0.0.1:8010"
    raise ConfigurationError([Mistake("--url", 0, 0, "", f"{url!r} is not an address", advice)])


def component_path(name: str, action: str = "") -> str:
    """The path of a component in the API, or of something that belongs to it."""
    return f"/api/components/{quote(name, safe='', errors='surrogateescape')}{f'/{action}' if action else ''}"


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
) -> None:
    """Send a request, or as much of it as is read: who refuses a body may close before he has all of it."""
    try:
        connection.request(method, target, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        if body is None:
            raise


def _target(path: str, query: Mapping[str, object] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _refuse(status: int, body: bytes) -> NoReturn:
    from tekton.utils.http_problems import error_from_answer

    raise error_from_answer(status, body)


def _nothing_runs(instance: Instance) -> TransportError:
    error = TransportError(str(instance.data_dir), "no control plane runs in this data directory")
    error.hint = "tekton up"
    return error
