"""The official SDK as a client of one agent. Imported when an agent is called for the first time: it takes a while.

What it raises becomes an error of ours, so that nobody else needs to know it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
from a2a.client.client import Client, ClientCallContext, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentInterface,
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
)
from a2a.types.a2a_pb2 import AgentCard as WireCard
from a2a.utils.constants import VERSION_HEADER
from a2a.utils.errors import A2AError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict, ParseDict

from tekton.core.calls import describe
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.remote_agents.card import BINDINGS, AgentCard
from tekton.utils.remote_agents.refusals import AgentRefusalError, RemoteTaskUnknownError
from tekton.utils.remote_agents.transport import GuardedTransport, Headers
from tekton.utils.remote_agents.wire import Update, read_update
from tekton.utils.strict_urls import parse_url
from tekton.utils.tekton_errors import TektonError, TransportError

__all__ = ["A2AClient", "Updates"]

_VERSION: Final = "1.0"


class A2AClient:
    """Speaks to the agent of *card*, through *http*, with *headers*. To be used with `async with`, by one task."""

    def __init__(self, http: GuardedHttp, card: AgentCard, headers: Headers) -> None:
        self._origin = parse_url(card.interfaces[0].url).origin
        self._transport = GuardedTransport(http, headers)
        self._httpx = httpx.AsyncClient(
            transport=self._transport, headers={VERSION_HEADER: _VERSION}, trust_env=False, follow_redirects=False
        )
        config = ClientConfig(
            streaming=card.streaming,
            polling=not card.streaming,
            httpx_client=self._httpx,
            supported_protocol_bindings=list(BINDINGS),
        )
        self._client: Client = ClientFactory(config).create(_wire_card(card))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._httpx.aclose()

    def send(self, message: Mapping[str, Any], timeout: float) -> "Updates":
        """Send *message*; what is said to it. That is one update only, where the agent has no streams."""
        request = ParseDict({"message": dict(message)}, SendMessageRequest())
        return self._updates(self._client.send_message(request, context=ClientCallContext(timeout=timeout)))

    def subscribe(self, task_id: str, timeout: float) -> "Updates":
        """What is said of a task from now on, and first how it is."""
        request = SubscribeToTaskRequest(id=task_id)
        return self._updates(self._client.subscribe(request, context=ClientCallContext(timeout=timeout)))

    async def get(self, task_id: str, timeout: float) -> Update:
        """How a task is. Raises RemoteTaskUnknownError, AgentRefusalError, TransportError."""
        try:
            request = GetTaskRequest(id=task_id, history_length=0)
            task = await self._client.get_task(request, context=ClientCallContext(timeout=timeout))
            return read_update({"task": MessageToDict(task)})
        except Exception as error:
            raise _translated(error, self._origin) from error

    async def cancel(self, task_id: str, timeout: float) -> None:
        """Call a task off. Raises as `get`."""
        try:
            await self._client.cancel_task(CancelTaskRequest(id=task_id), context=ClientCallContext(timeout=timeout))
        except Exception as error:
            raise _translated(error, self._origin) from error

    def _updates(self, responses: AsyncIterator[StreamResponse]) -> "Updates":
        assert isinstance(responses, AsyncGenerator)
        return Updates(responses, self._transport, self._origin)


class Updates:
    """What an agent says, until it has said all, or nobody listens any more (`close`).

    Raises RemoteTaskUnknownError, AgentRefusalError, TransportError.
    """

    def __init__(
        self, responses: AsyncGenerator[StreamResponse, None], transport: GuardedTransport, origin: str
    ) -> None:
        self._responses = responses
        self._transport = transport
        self._origin = origin
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        self._begun = True
        try:
            return read_update(MessageToDict(await anext(self._responses)))
        except StopAsyncIteration:
            raise
        except Exception as error:
            raise _translated(error, self._origin) from error

    async def first(self) -> Update:
        """The first thing that is said. Raises TransportError if nothing is, too."""
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise TransportError(self._origin, "it has answered nothing") from None

    async def close(self) -> None:
        """Listen no more. Closing twice does nothing."""
        if not self._begun:
            await self._responses.aclose()
            return
        self._transport.end()
        try:
            # To their end, so that the generators of the SDK, one within the other, end in order.
            async for _ in self._responses:
                pass
        except Exception:
            return


def _wire_card(card: AgentCard) -> WireCard:
    """What the SDK needs of a card: nothing else that a stranger has written gets into it."""
    return WireCard(
        name=card.name,
        version=card.version,
        supported_interfaces=[
            AgentInterface(url=one.url, protocol_binding=one.binding, protocol_version=_VERSION, tenant=one.tenant)
            for one in card.interfaces
        ],
        capabilities=AgentCapabilities(streaming=card.streaming),
    )


def _translated(error: Exception, origin: str) -> Exception:
    if isinstance(error, TektonError):
        return error
    if isinstance(error, TaskNotFoundError):
        return RemoteTaskUnknownError(describe(error))
    if isinstance(error, A2AError) and not isinstance(error, A2AClientError):
        return AgentRefusalError(describe(error))
    return TransportError(origin, f"answered something that cannot be read: {describe(error)}")
