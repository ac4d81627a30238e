"""The HTTP server: Granian embedded in our process and event loop, one instance per listening socket.

We bind the sockets ourselves and hand them over. So a port that is taken is an error here (Granian binds with
SO_REUSEPORT and would share it), port 0 works, and who connects after `start()` is served. Signals and logging
stay ours: the embedded server installs no signal handlers, and its log goes to the ordinary loggers.

The parts of Granian that are not its public interface are used here and nowhere else: `SocketHolder`, and the two
steps of the embedded server that `_EmbeddedServer` replaces.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from tekton.background import BackgroundTask
from tekton.gateway.app import Gateway
from tekton.gateway.ops import METRICS, OPS, PartialPort
from tekton.gateway.tls import Tls, TlsPaths
from tekton.utils.tekton_errors import AddressError, PortInUseError, SupervisionError

_logger = logging.getLogger("tekton.gateway")

_App = Gateway | PartialPort

MAX_CONNECTIONS = 1024
"""Per listening socket; twice the streams that there may be, if that is more.

The Unix socket has its own: a flood on the port leaves the owner a way in.
"""

OPS_CONNECTIONS = 256
"""On the ops port: a flood on the main one does not reach it."""

METRICS_CONNECTIONS = 32
"""On the metrics port."""

HEADER_TIMEOUT = 10.0
"""Seconds for the headers of a request to arrive, and for which an idle connection is kept.

As long may a TLS handshake take, which is not ours to choose. It takes no permit.
"""

MAX_HEAD_BYTES = 28 * 1024
"""Of the request line and the headers as they are sent: what `ingress` allows of each, and the punctuation.

The server notices when it has read as much without an end. With the last read a head may be twice as long.
"""

UNREAD_TIMEOUT = 15.0
"""Seconds after which a connection is given up whose client takes nothing of what was sent to it.

So one that has vanished, without a word, from a stream or a socket is known to be gone this long after the next ping.
We have let go of it long before, but the server waits for what it has buffered to be taken.
"""

BACKLOG = 1024
"""Connections that wait for a permit in the kernel, per listening socket."""

_RENEWAL_PATIENCE = 0.5
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_NOT_FOR_US = (*_NO_SUCH_ADDRESS, errno.EACCES, errno.EPERM, errno.EINVAL)


class GatewayServer:
    """Serves *app* on *host*:*port* and, when *uds* is given, on a Unix socket.

    *host* is an address or a name (`localhost` is served on IPv4 and IPv6); several are given as a sequence. With
    *tls* the ports speak TLS 1.3 and nothing else; the Unix socket never does. On *ops_port* and *metrics_port* only
    what `ops` says is served. Of *streams*, which keep their connections, there may be so many.
    """

    def __init__(
        self,
        app: Gateway,
        host: str | Sequence[str],
        port: int,
        uds: Path | None = None,
        *,
        tls: Tls | None = None,
        ops_port: int | None = None,
        metrics_port: int | None = None,
        streams: int = 0,
    ) -> None:
        self._app = app
        self._connections = max(MAX_CONNECTIONS, 2 * streams)
        self._tls = tls
        self._parts = [
            (port, PartialPort(app, served), connections)
            for port, served, connections in (
                (ops_port, OPS, OPS_CONNECTIONS),
                (metrics_port, METRICS, METRICS_CONNECTIONS),
            )
            if port is not None
        ]
        self._hosts = [host] if isinstance(host, str) else list(host)
        self._port = port
        self._uds = uds
        self._listeners: list[_Listener] = []

    @property
    def port(self) -> int:
        """The port in use: the one the system chose, when 0 was asked for and the server has started."""
        return self._port

    async def start(self) -> None:
        """Listen and serve; connections are accepted when this returns.

        Raises PortInUseError, naming the owner where it can be known, AddressError for an address that is not ours
        or not allowed, SupervisionError otherwise. In that case nothing is left open.
        """
        main, parts, unix = await asyncio.to_thread(self._bind)
        self._port = main[0].getsockname()[1]
        self._listeners = [
            *(_Listener(self._app, each, self._connections, self._tls) for each in main),
            *(_Listener(part, each, connections, self._tls) for each, part, connections in parts),
            *(_Listener(self._app, each, self._connections) for each in unix),
        ]
        try:
            for listener in self._listeners:
                await listener.start()
        except SupervisionError:
            await self.stop(timeout=1.0)
            raise

    async def renew(self, tls: Tls) -> None:
        """Show *tls* to whoever connects from now on. The port is listened on all the time.

        Who is idle, or in the middle of a TLS handshake, is disconnected; a request or a stream in progress goes on.
        Nothing happens to a server that has none. Raises SupervisionError, and then the old one goes on to be shown.
        """
        self._tls = tls
        for place, old in enumerate(self._listeners):
            if (fresh := old.successor(tls)) is None:
                continue
            await fresh.start()
            self._listeners[place] = fresh
            await old.stop(_RENEWAL_PATIENCE)

    def _bind(self) -> tuple[list[socket.socket], list[tuple[socket.socket, PartialPort, int]], list[socket.socket]]:
        """The sockets of the port, of the ports that serve a part, and of the Unix socket."""
        bound: list[socket.socket] = []
        parts: list[tuple[socket.socket, PartialPort, int]] = []
        try:
            bound += (main := bind_port(self._hosts, self._port))
            for port, part, connections in self._parts:
                bound += (sockets := bind_port(self._hosts, port))
                parts += [(each, part, connections) for each in sockets]
            return main, parts, [bind_unix(self._uds)] if self._uds is not None else []
        except SupervisionError:
            _close(bound)
            raise

    async def stop(self, timeout: float = 5.0) -> None:
        """End all streams and sockets with a goodbye, answer what is in progress, close the listeners.

        Streams that end by themselves are in progress. What is not done after *timeout* seconds, or when it is
        cancelled, is left behind; the listeners are closed all the same. Stopping what has stopped does nothing.
        """
        listeners, self._listeners = self._listeners, []
        if not listeners:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                await self._app.drain()
        except TimeoutError:
            _logger.warning("%d streams did not end within %g s", len(self._app.streams), timeout)
        except asyncio.CancelledError:
            deadline = loop.time()  # who waits no longer still wants the ports to be free
            raise
        finally:
            await self._close(listeners, max(deadline - loop.time(), 0.1))

    async def _close(self, listeners: Sequence["_Listener"], patience: float) -> None:
        try:
            await asyncio.gather(*(listener.stop(patience) for listener in listeners))
        finally:
            self._app.streams.cut()
            if self._uds is not None:
                self._uds.unlink(missing_ok=True)


def bind_port(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Listening sockets on *port* of every address of *hosts*, all on the same port when it is 0.

    An address that this machine does not have is skipped as long as another works. Raises PortInUseError,
    AddressError or another SupervisionError; then nothing stays open.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(hosts, port):
            try:
                sockets.append(_listen(family, (address, port)))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS or not sockets:
                    raise _listen_error(address, port, error) from error
                continue
            port = sockets[-1].getsockname()[1]
    except SupervisionError:
        _close(sockets)
        raise
    return sockets


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket at *path*, for its owner only; replaces one that nobody listens on any more."""
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SupervisionError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _addresses(hosts: Sequence[str], port: int) -> list[tuple[socket.AddressFamily, str]]:
    found: dict[tuple[socket.AddressFamily, str], None] = {}
    for host in hosts:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM):
                found[family, str(address[0])] = None
        except OSError as error:
            if error.errno == socket.EAI_AGAIN:
                # The name server does not answer at the moment.
                raise SupervisionError(f"cannot listen on {host}: {error.strerror}") from error
            raise AddressError(host, port, error.strerror or str(error)) from error
    # IPv4 first: its port is the one that is told when 0 was asked for.
    return sorted(found, key=lambda each: each[0] != socket.AF_INET)


def _listen(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":  # connections have it from the socket that accepts them
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_TIMEOUT * 1000))
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_error(address: str, port: int, error: OSError) -> SupervisionError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(port, port_owner(port))
    if error.errno in _NOT_FOR_US:
        return AddressError(address, port, os.strerror(error.errno))
    return SupervisionError(f"cannot listen on {address} port {port}: {error.strerror or error}")


def port_owner(port: int) -> str | None:
    """Who listens on *port*: `name (process 123)`; None when it cannot be known (another user's process)."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None


def _remove_dead(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
        else:
            raise SupervisionError(f"cannot listen on {path}: another process does")


class _Listener:
    """One listening socket being served, to at most *connections* at a time. Takes the socket over."""

    def __init__(self, app: _App, listening: socket.socket, connections: int, tls: Tls | None = None) -> None:
        self._app = app
        self._connections = connections
        self._tls = tls
        # Whether it blocks is shared by all descriptors of a socket, and a server that runs must not be made to block.
        listening.setblocking(False)
        self._again = None if tls is None else listening.dup()
        self._listening = listening
        self._server: _EmbeddedServer | None = None
        self._task = BackgroundTask("http-server")

    def successor(self, tls: Tls) -> "_Listener | None":
        """Another one on the same socket, which shows *tls*; None for one without TLS."""
        again, self._again = self._again, None
        return None if again is None else _Listener(self._app, again, self._connections, tls)

    async def start(self) -> None:
        """Returns when the server's threads run. Raises SupervisionError when it failed."""
        with nullcontext() if self._tls is None else self._tls.written() as paths:
            self._server = server = _EmbeddedServer(self._app, self._listening, self._connections, paths)
            self._task.start(server.serve())
            # One turn of the loop until the server waits, one for its worker: what fails, fails in these.
            for _ in range(3):
                await asyncio.sleep(0)
        if not self._task.running or not server.wrks:
            await self.stop(0.1)
            raise SupervisionError("the HTTP server did not start; see the log")

    async def stop(self, patience: float) -> None:
        """Accept no more, wait *patience* seconds for the connections to finish."""
        if self._again is not None:
            self._again.close()
        if self._server is None:
            self._listening.close()
            return
        self._server.end(patience)
        await self._task.join()


class _EmbeddedServer(Server):
    """Granian's embedded server on a socket that is bound already."""

    def __init__(self, app: _App, listening: socket.socket, connections: int, tls: TlsPaths | None) -> None:
        _keep_logging_ours()
        super().__init__(
            app,
            http=HTTPModes.http1,
            backlog=BACKLOG,
            backpressure=connections,
            runtime_threads=1,  # with more, what is sent on a socket without waiting would change its order
            http1_settings=HTTP1Settings(
                header_read_timeout=int(HEADER_TIMEOUT * 1000), max_buffer_size=MAX_HEAD_BYTES
            ),
            log_level=LogLevels.warning,
            log_dictconfig=_CHANGE_NOTHING,
            ssl_cert=tls and tls.cert,
            ssl_key=tls and tls.key,
            ssl_protocol_min=SSLProtocols.tls13,
            ssl_ca=tls and tls.client_ca,
            ssl_client_verify=tls is not None and tls.client_ca is not None,
        )
        self._listening = listening
        self._patience = 5.0

    def end(self, patience: float) -> None:
        """Make `serve` return after at most *patience* seconds."""
        self._patience = patience
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _init_shared_socket(self) -> None:
        unix = self._listening.family == socket.AF_UNIX
        fd = self._listening.detach()
        holder: Any = SocketHolder
        self._shd = holder(fd, unix, BACKLOG) if sys.platform.startswith(("linux", "freebsd")) else holder(fd, unix)

    async def _stop_workers(self) -> None:
        # Granian waits for its connections without limit, or cancels. A worker that still has connections is
        # left to them: it ends with the last one, or with the process.
        workers: list[Any] = self.wrks
        for worker in workers:
            worker.terminate()
        await asyncio.wait([worker._task for worker in workers], timeout=self._patience)
        workers.clear()


# Granian configures logging when it is constructed. This changes the level of its own logger and nothing else;
# anything that is not incremental would close every handler of the process.
_CHANGE_NOTHING: dict[str, Any] = {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}}


def _keep_logging_ours() -> None:
    logging.getLogger("_granian").addFilter(_not_experimental)


def _not_experimental(record: logging.LogRecord) -> bool:
    # Said at every start; which of its modes we use is our decision.
    return "is experimental" not in record.getMessage()
