"""An exchange whose answers carry more headers than their handlers have given them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from tekton.gateway.rsgi import BodyFuture, HeaderList, HttpProtocol, StreamTransport


class DressedExchange(ABC):
    """*proto*, with each answer's headers as `dressed` makes them. All else goes through unchanged."""

    def __init__(self, proto: HttpProtocol) -> None:
        self._proto = proto

    @abstractmethod
    def dressed(self, headers: HeaderList) -> HeaderList:
        """The headers to answer with, where *headers* are what the handler has given."""

    def __call__(self) -> BodyFuture:
        return self._proto()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._proto)

    async def client_disconnect(self) -> None:
        await self._proto.client_disconnect()

    def response_bytes(self, status: int, headers: HeaderList, body: bytes) -> None:
        self._proto.response_bytes(status, self.dressed(headers), body)

    def response_stream(self, status: int, headers: HeaderList) -> StreamTransport:
        return self._proto.response_stream(status, self.dressed(headers))

    def response_file(self, status: int, headers: HeaderList, file: str) -> None:
        self._proto.response_file(status, self.dressed(headers), file)
