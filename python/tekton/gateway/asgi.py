"""ASGI (3.0): the types of an application, and its lifespan."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tekton.background import BackgroundTask
from tekton.utils.tekton_errors import ComponentError, TektonError

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiMessage]]
AsgiSend = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]

ASGI = {"version": "3.0", "spec_version": "2.4"}

_logger = logging.getLogger("tekton.gateway")


class Lifespan:
    """The start-up and shutdown of an application. One that has no lifespan simply does not take part."""

    def __init__(self, app: AsgiApp, state: dict[str, Any], prefix: str) -> None:
        self._app = app
        self._state = state
        self._prefix = prefix
        self._task = BackgroundTask(f"lifespan of {prefix}")
        self._messages: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self._answer: asyncio.Future[AsgiMessage] | None = None

    async def start(self) -> None:
        """Let the application start up. Raises ComponentError when it fails to."""
        self._state.clear()
        answer = await self._ask("startup")
        if answer["type"] == "lifespan.startup.failed":
            await self._task.stop()
            raise ComponentError(self._prefix, f"the mounted application did not start: {answer.get('message', '')}")

    async def stop(self) -> None:
        """Let the application shut down. Stopping what has not started does nothing."""
        if self._task.running:
            await self._ask("shutdown")
        await self._task.stop()

    async def _ask(self, what: str) -> AsgiMessage:
        self._answer = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": f"lifespan.{what}"})
        if what == "startup":
            self._task.start(self._run())
        return await self._answer

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI, "state": self._state}
        try:
            await self._app(scope, self._messages.get, self._send)
        except TektonError:
            raise
        except Exception as error:
            # So says the specification of ASGI: whoever raises here has no lifespan, unless it has said otherwise.
            _logger.debug("%s has no lifespan: %r", self._prefix, error)
        finally:
            self._tell({"type": "lifespan.ended"})

    async def _send(self, message: AsgiMessage) -> None:
        self._tell(message)

    def _tell(self, message: AsgiMessage) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)
