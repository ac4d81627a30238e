"""The part of RSGI 1.6 that the gateway uses, as protocols.

Granian's objects satisfy them and so do the doubles in the tests. Awaitables of the server are futures, not
coroutines: they can be awaited, and cancelled while they wait, but `create_task` refuses them.
"""

from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any, Protocol

HeaderList = list[tuple[str, str]]


class BodyFuture(Protocol):
    """A request body on its way. Cancelling drops what is left of it."""

    def cancel(self) -> bool: ...

    def __await__(self) -> Generator[Any, None, bytes]: ...


class Headers(Protocol):
    """Request headers; names in lower case. Values that are not ASCII do not show."""

    def __contains__(self, name: str) -> bool: ...

    def __len__(self) -> int:
        """How many different names there are."""
        ...

    def keys(self) -> list[str]: ...

    def values(self) -> list[str]:
        """One for each field line, so that there may be more of them than names."""
        ...

    def get(self, name: str, default: str | None = None) -> str | None: ...

    def get_all(self, name: str) -> Sequence[str]: ...


class Scope(Protocol):
    """One request. Every access to `headers` copies them: take them once. `server` is the address it came to.

    `path` is percent-decoded, with U+FFFD for what is not UTF-8. `client` is empty on a Unix socket.
    `authority` is set when the request target was in absolute form.
    """

    @property
    def proto(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def authority(self) -> str | None: ...
    @property
    def headers(self) -> Headers: ...


class StreamTransport(Protocol):
    """A response body being sent in pieces; it ends when the object is freed.

    Nothing here waits for the client: what is sent is queued without limit, also after the client has left.
    """

    async def send_bytes(self, data: bytes) -> None: ...


class HttpProtocol(Protocol):
    """The exchange that belongs to one HTTP request. Calling it reads the whole body."""

    def __call__(self) -> BodyFuture: ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, then one empty piece; a second empty piece means that the body broke off."""
        ...

    async def client_disconnect(self) -> None: ...

    def response_bytes(self, status: int, headers: HeaderList, body: bytes) -> None: ...

    def response_stream(self, status: int, headers: HeaderList) -> StreamTransport: ...

    def response_file(self, status: int, headers: HeaderList, file: str) -> None:
        """Answer with what can be read at the path *file*, read as the client takes it."""
        ...


class SocketMessage(Protocol):
    """`kind` is 0 (the client closed), 1 (bytes) or 2 (text); only the last two have `data`."""

    @property
    def kind(self) -> int: ...
    @property
    def data(self) -> bytes | str: ...


class ServerFuture(Protocol):
    """What the server does, and has begun to when this is there. Cancelling drops it."""

    def cancel(self) -> bool: ...

    def __await__(self) -> Generator[Any, None, None]: ...


class SocketTransport(Protocol):
    """An accepted WebSocket. Sending waits while the client does not read.

    What is sent while something is still being sent comes after it.
    """

    async def receive(self) -> SocketMessage: ...

    def send_bytes(self, data: bytes) -> ServerFuture: ...

    def send_str(self, data: str) -> ServerFuture: ...


class SocketProtocol(Protocol):
    """The exchange that belongs to one WebSocket request."""

    async def accept(self) -> SocketTransport: ...

    def close(self, status: int | None = None) -> object:
        """Refuse with an HTTP *status* before `accept`, end the socket after it."""
        ...
