"""A local picture of all components, kept fresh by the change feed, and calls balanced over their instances.

    async with Discovery() as discovery:
        engram = discovery.find("engram")                      # a look-up in a dict
        await discovery.call_api("engram", "/api/memory/a")    # one of its instances, another one if that fails
        await discovery.call_capability("memory", "/api/a")    # whoever serves it, and those who stand in

The picture is current while the connection is there. When it is lost, the control plane is asked for each find, and
only when it does not answer either is the last picture used: `stale` says how old that is. While a `Discovery` is
open, `find_component` and its like use it, in the same event loop; one that is only open begins to watch with the
first of them.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from tekton.background import BackgroundTask
from tekton.core.capability_service import Fallback
from tekton.core.lifecycle import Change
from tekton.utils.breakers import Breakers
from tekton.utils.call_tokens import CallTokens
from tekton.utils.calls import CALL_TIMEOUT, Caller, CallHook, described
from tekton.utils.capability_calls import Candidate, Fallbacks, call_in_turn
from tekton.utils.control_plane import ControlPlane
from tekton.utils.found_components import ComponentClient, ask_instances, ask_serving, best_of
from tekton.utils.instance_table import InstanceTable
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import ComponentNotFoundError, ProblemError, TransportError
from tekton.utils.tekton_ids import check_id
from tekton.utils.tekton_websocket import CallSettings, Lost, Snapshot, WebSocketClient

__all__ = ["Discovery", "open_discovery"]

_logger = logging.getLogger("tekton.discovery")

ASK_TIMEOUT = 2.0
"""Seconds that the control plane has to answer while the connection is lost, before the last picture is used."""

_OPEN: "WeakKeyDictionary[asyncio.AbstractEventLoop, Discovery]" = WeakKeyDictionary()


class Discovery:
    """Finds and calls components of the control plane (that of the environment unless it is given).

    *hook* sees each attempt of each call; without one it is `breakers`, with the settings of components.json. *tokens*
    are shown to components that ask who calls, and none of those Authorization headers that are *withheld*. Raises
    ConfigurationError for a wrong environment.
    """

    def __init__(
        self,
        control_plane: ControlPlane | None = None,
        *,
        hook: CallHook | None = None,
        retries: Retries | None = None,
        tokens: CallTokens | None = None,
        withheld: Callable[[str], bool] = lambda _: False,
        rng: random.Random | None = None,
    ) -> None:
        self._control_plane = control_plane or ControlPlane.from_environment()
        self._random = rng or random.Random()
        self._tokens = tokens or CallTokens(self._control_plane)
        self.breakers = Breakers()
        """The circuit breakers of those components that were called, unless another hook is used."""
        hook = self.breakers if hook is None else hook
        self._caller = Caller(hook=hook, retries=retries, tokens=self._tokens, withheld=withheld, rng=self._random)
        self._http = self._control_plane.client(ASK_TIMEOUT)
        self._fallbacks = Fallbacks(self.breakers.adopt)
        self._table = InstanceTable(self._caller)
        self._task = BackgroundTask("discovery")
        self._told = asyncio.Event()
        self._current = False
        self._lost_at: float | None = None
        self._complete = False
        self._revision = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Watch. Returns when the picture is complete, or the first attempt to get one has failed, or takes long."""
        self.open()
        if not self._task.running:
            self._task.start(self._watch())
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_TIMEOUT):
                await self._told.wait()

    def open(self) -> None:
        """Be the discovery of this event loop, unless it has one. Watching begins when it is first asked."""
        _OPEN.setdefault(asyncio.get_running_loop(), self)

    async def stop(self) -> None:
        """Stop watching and close the connections. Stopping twice does nothing."""
        loop = asyncio.get_running_loop()
        if _OPEN.get(loop) is self:
            del _OPEN[loop]
        await self._task.stop()
        self._told.clear()
        await self._http.close()
        await self._caller.close()
        await self._tokens.close()

    @property
    def revision(self) -> int:
        """The revision of the last change in the picture; 0 before there is one."""
        return self._revision

    @property
    def stale(self) -> float:
        """Seconds since the connection was lost; 0 while it is there, infinite as long as there is no picture."""
        if self._current:
            return 0.0
        if not self._complete or self._lost_at is None:
            return math.inf
        return asyncio.get_running_loop().time() - self._lost_at

    def find(self, component_id: str) -> ComponentClient | None:
        """The component in the picture, however old that is; None when it is not in it, or cannot be used."""
        return self._table.clients.get(component_id)

    def find_by_capability(self, capability: str) -> list[ComponentClient]:
        """The components in the picture that can be used and offer *capability*, READY ones first.

        While there are none, the fallback that stands in, whose parameters its client puts into the data of each call.
        A fallback that offers the capability itself comes last.
        """
        offering = self._table.offering(capability)
        chain = self._fallbacks.of(capability)
        if not chain:
            return offering
        names = {one.component for one in chain}
        primary = [client for client in offering if client.component_id not in names]
        if primary:
            return primary + [client for client in offering if client.component_id in names]
        fallbacks = (self._fallback(one) for one in chain)
        return next(([client] for client in fallbacks if client is not None), [])

    def _fallback(self, fallback: Fallback) -> ComponentClient | None:
        client = self.find(fallback.component)
        if client is None:
            return None
        instances = partial(self._table.instances, fallback.component)
        return ComponentClient(client.record, instances, self._caller, fallback.parameters)

    async def find_component(self, component_id: str) -> ComponentClient | None:
        """`find` while the picture is current, else what the control plane answers.

        Raises TransportError when it does not, and there never was a picture.
        """
        if self._current or await self._becomes_current():
            return self._table.clients.get(component_id)
        try:
            records = await ask_instances(self._http, component_id)
        except TransportError:
            if not self._complete:
                raise
            return self.find(component_id)
        best = best_of(records)
        return None if best is None else ComponentClient(best, lambda: records, self._caller)

    async def find_components_by_capability(self, capability: str) -> list[ComponentClient]:
        """`find_by_capability` while the picture is current, else what the control plane answers; raises as above."""
        if await self._knows_who_serves(ASK_TIMEOUT):
            return self.find_by_capability(capability)
        try:
            serving = await ask_serving(self._http, capability)
        except TransportError:
            if not self._complete:
                raise
            return self.find_by_capability(capability)
        return serving.clients(self._caller)

    async def call_api(
        self, component_id: str, path: str, method: str | None = None, data: object = None, **how: Any
    ) -> Any:
        """Find the component and call it; *how* is what `ComponentClient.call_api` takes, and errors are its errors.

        Raises ComponentNotFoundError when nobody knows the component, NoUsableInstanceError when it cannot be used.
        """
        client = await self.find_component(component_id)
        if client is None:
            records = self._table.instances(component_id) or await ask_instances(self._http, component_id)
            if not records:
                raise ComponentNotFoundError(component_id)
            client = ComponentClient(records[0], lambda: records, self._caller)
        return await client.call_api(path, method, data, **how)

    async def call_capability(
        self, capability: str, path: str, method: str | None = None, data: object = None, **how: Any
    ) -> Any:
        """Call whoever serves *capability*, and when that fails those who stand in; see `capability_calls`.

        *how* is what `ComponentClient.call_api` takes. Raises NoFallbackAvailableError, and what is reported about the
        request; TransportError while there never was a picture, and InvalidIdError.
        """
        check_id(capability, "/capability", dots=True)
        limit: float = how.pop("timeout", None) or CALL_TIMEOUT
        call = described(path, method, data, **how)
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit
        if not await self._knows_who_serves(min(limit, ASK_TIMEOUT)) and not self._complete:
            raise TransportError(self._control_plane.url, "no answer yet")
        chain = self._fallbacks.of(capability)
        besides = frozenset(one.component for one in chain)
        primary = Candidate(capability, lambda: self._table.capable(capability, besides))
        behind = [
            Candidate(one.component, partial(self._table.instances, one.component), one.parameters) for one in chain
        ]
        return await call_in_turn(self._caller, capability, [primary, *behind], call, deadline - clock())

    async def _knows_who_serves(self, timeout: float) -> bool:
        """True when the picture is current, and the fallbacks are known. Waits for the first ones only."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                if self._current or await self._becomes_current():
                    await self._fallbacks.known()
        return self._current

    async def _becomes_current(self) -> bool:
        if not self._told.is_set():
            await self.start()
        return self._current

    async def _watch(self) -> None:
        try:
            async with (
                WebSocketClient(self._control_plane, rng=self._random) as client,
                aclosing(client.follow()) as events,
            ):
                async for event in events:
                    self._learn(event)
        except ProblemError as error:
            _logger.error("the control plane does not let us watch, so it is asked each time: %s", error)
        finally:
            self._lose()
            self._told.set()

    def _learn(self, event: object) -> None:
        match event:
            case Change(revision=revision):
                self._table.apply(event)
                self.breakers.observed(event.record, gone=event.kind == "deregistered")
                self._revision = revision
                return
            case Snapshot(revision=revision, records=records):
                gone, new = self._table.replace(records)
                for record in gone:
                    self.breakers.observed(record, gone=True)
                for record in new:
                    self.breakers.observed(record)
                self._revision, self._complete = revision, True
            case CallSettings(value=value):
                self._fallbacks.learn(value)
                return
            case Lost():
                self._lose()
                self._told.set()
                return
        self._current = True
        self._told.set()

    def _lose(self) -> None:
        if self._current or self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
        self._current = False


def open_discovery() -> Discovery | None:
    """The discovery that is open in this event loop; the first, if there are several."""
    return _OPEN.get(asyncio.get_running_loop())
