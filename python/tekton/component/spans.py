"""The spans of a component, on their way to the control plane.

They wait in a bounded buffer and go in batches, as OTLP. What cannot be delivered is kept as long as there is room; a
control plane that does not take spans is not asked again in this run of the component.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from tekton.background import BackgroundTask
from tekton.clock import Clock
from tekton.core.tracing.buffer import SpanBuffer
from tekton.core.tracing.sampling import Sampler
from tekton.core.tracing.span import Span, cleaned
from tekton.core.tracing.tracer import Tracer
from tekton.utils.component_client import ControlPlane
from tekton.utils.otlp import encode
from tekton.utils.redaction import scrub
from tekton.utils.tekton_config import ComponentEnvironment
from tekton.utils.tekton_errors import TektonError, TransportError
from tekton.utils.tekton_http import HttpClient

_PATH: Final = "/v1/traces"
_GATHER: Final = 1.0
_PAUSES: Final = (1.0, 30.0)
"""The first and the longest pause, in seconds, after the control plane could not be reached."""
_BATCH: Final = 512
_SIZE: Final = 128 * 1024
"""Characters of a batch. Each may have 6 bytes in JSON, and of more than 1 MiB aiohttp makes a slow and loud job."""
_LAST: Final = 1.0
"""Seconds for which the end of a component waits for its last spans."""
_PASSING: Final = frozenset({408, 429, 502, 503, 504})
_REFUSING: Final = frozenset({401, 403, 404, 405, 415})
"""What is said of all spans; anything else is said of these ones."""

_logger = logging.getLogger("tekton.tracing")


class ComponentSpans:
    """Makes the spans of *component_id* (`tracer`), and sends them while it is started."""

    def __init__(self, component_id: str, clock: Clock) -> None:
        self.tracer = Tracer(component_id, self._add, ratio=0.0, clock=clock)
        self._clock = clock
        self._buffer = SpanBuffer()
        self._client: HttpClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._some = asyncio.Event()
        self._sending = BackgroundTask(f"spans of {component_id}")

    def start(self, plane: ControlPlane, instance_uuid: str, environment: ComponentEnvironment) -> None:
        """Record from now on, as that instance, and send to *plane*."""
        self.tracer.instance = instance_uuid
        self.tracer.sampler = Sampler(environment.trace_ratio, self._clock.monotonic)
        self._client = plane.client()
        self._loop = asyncio.get_running_loop()
        self._some = asyncio.Event()
        self._sending.start(self._send())

    async def stop(self, *, at_once: bool = False) -> None:
        """Send what is there, within a second, and end. Stopping twice does nothing."""
        client, self._client = self._client, None
        if client is None:
            return
        self.tracer.sampler = Sampler(0.0, self._clock.monotonic)
        await self._sending.stop()
        try:
            if not at_once:
                async with asyncio.timeout(_LAST):
                    await self._send_all(client)
        except (TektonError, TimeoutError) as error:
            _logger.debug("the last spans were not sent: %s", error)
        finally:
            self._buffer.take()
            await client.close()

    def _add(self, span: Span) -> None:
        self._buffer.add(span)
        if self._loop is not None and not self._some.is_set():
            try:
                # From whatever thread.
                self._loop.call_soon_threadsafe(self._some.set)
            except RuntimeError:
                pass  # the loop is closed: the component has ended

    async def _send(self) -> None:
        pause = _PAUSES[0]
        while (client := self._client) is not None:
            await self._some.wait()
            await asyncio.sleep(_GATHER)
            self._some.clear()
            try:
                await self._send_all(client)
                pause = _PAUSES[0]
            except TransportError as error:
                _logger.debug("spans wait: %s", error)
                self._some.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSES[1])
            except TektonError as error:
                _logger.info("spans are not taken, and no more are recorded: %s", error)
                self.tracer.sampler = Sampler(0.0, self._clock.monotonic)
                return

    async def _send_all(self, client: HttpClient) -> None:
        """Send what waits. Raises TransportError when it is to be tried again; then nothing is lost."""
        while spans := self._buffer.take(_BATCH, _SIZE):
            try:
                body = await asyncio.to_thread(_encoded, spans)
                answer = await client.send("POST", _PATH, msgspec.Raw(body))
                if answer.status in _PASSING:
                    raise TransportError(_PATH, f"answered with {answer.status}")
            except (TransportError, asyncio.CancelledError):
                self._buffer.put_back(spans)
                raise
            if answer.status in _REFUSING:
                raise TektonError(f"answered with {answer.status}")
            if answer.status >= 300:
                _logger.debug("%d spans were not taken: answered with %d", len(spans), answer.status)


def _encoded(spans: list[Span], redact: Callable[[str], str] = scrub) -> bytes:
    return encode([cleaned(span, redact) for span in spans])
