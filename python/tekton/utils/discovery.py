"""A local picture of all components, kept fresh by the change feed, and calls balanced over their instances.

    async with Discovery() as discovery:
        engram = discovery.find("engram")                      # a look-up in a dict
        await discovery.call_api("engram", "/api/memory/a")    # one of its instances, another one if that fails

The picture is current while the connection is there. When it is lost, the control plane is asked for each find, and
only when it does not answer either is the last picture used: `stale` says how old that is. While a `Discovery` is
open, `find_component` and its like use it, in the same event loop; one that is only open begins to watch with the
first of them.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec

from tekton.background import BackgroundTask
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.utils.call_tokens import CallTokens
from tekton.utils.calls import Caller, CallHook, ComponentClient, best_of
from tekton.utils.control_plane import ControlPlane
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import ComponentNotFoundError, ProblemError, TransportError
from tekton.utils.tekton_http import HttpClient
from tekton.utils.tekton_ids import check_id
from tekton.utils.tekton_websocket import Lost, Snapshot, WebSocketClient

__all__ = ["Discovery", "ask_capability", "ask_instances", "open_discovery"]

_logger = logging.getLogger("tekton.discovery")

ASK_TIMEOUT = 2.0
"""Seconds that the control plane has to answer while the connection is lost, before the last picture is used."""

_OPEN: "WeakKeyDictionary[asyncio.AbstractEventLoop, Discovery]" = WeakKeyDictionary()


class InstanceTable:
    """Every instance of every component, and clients for those components that can be used."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._instances: dict[str, dict[str, ComponentRecord]] = {}
        self._capable: dict[str, dict[str, ComponentClient]] = {}
        self._offered: dict[str, set[str]] = {}
        self.clients: dict[str, ComponentClient] = {}

    def replace(self, records: Iterable[ComponentRecord]) -> None:
        """Know *records* and nothing else."""
        known = set(self._instances)
        self._instances = {}
        for record in records:
            self._instances.setdefault(record.component_id, {})[record.instance_uuid] = record
        for component_id in known | self._instances.keys():
            self._renew(component_id)
        self._caller.balancer.keep_only({uuid for each in self._instances.values() for uuid in each})

    def apply(self, change: Change) -> None:
        """Take one change over."""
        instances = self._instances.setdefault(change.component_id, {})
        if change.kind == "deregistered":
            instances.pop(change.instance_uuid, None)
        else:
            instances[change.instance_uuid] = change.record
        if not change.record.usable or change.kind == "deregistered":
            self._caller.balancer.forget(change.instance_uuid)
        if not instances:
            del self._instances[change.component_id]
        self._renew(change.component_id)

    def instances(self, component_id: str) -> list[ComponentRecord]:
        """The instances of a component, usable or not."""
        return list(self._instances.get(component_id, {}).values())

    def offering(self, capability: str) -> list[ComponentClient]:
        """The components that can be used for *capability*, READY ones first, in the order of their ids."""
        found = self._capable.get(capability, {}).values()
        return sorted(found, key=lambda each: (each.record.state is not ComponentState.READY, each.record.component_id))

    def _renew(self, component_id: str) -> None:
        """Make the clients of a component anew. One for a capability calls only those instances that offer it."""
        self.clients.pop(component_id, None)
        for capability in self._offered.pop(component_id, ()):
            offering = self._capable[capability]
            del offering[component_id]
            if not offering:
                del self._capable[capability]
        usable = [record for record in self.instances(component_id) if record.discoverable]
        if (best := best_of(usable)) is None:
            return
        client = ComponentClient(best, lambda: self.instances(component_id), self._caller)
        self.clients[component_id] = client
        offered = self._offered[component_id] = {each for record in usable for each in record.capabilities}
        for capability in offered:
            everywhere = all(capability in record.capabilities for record in usable)
            self._capable.setdefault(capability, {})[component_id] = (
                client if everywhere else self._partial(component_id, capability)
            )

    def _partial(self, component_id: str, capability: str) -> ComponentClient:
        def able() -> list[ComponentRecord]:
            return [record for record in self.instances(component_id) if capability in record.capabilities]

        best = best_of(able())
        assert best is not None, "one of the usable instances offers it"
        return ComponentClient(best, able, self._caller)


class Discovery:
    """Finds and calls components of the control plane (that of the environment unless it is given).

    *hook* sees each attempt of each call. *tokens* are shown to components that ask who calls, and none of those
    Authorization headers that are *withheld*. Raises ConfigurationError for a wrong environment.
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
        self._caller = Caller(hook=hook, retries=retries, tokens=self._tokens, withheld=withheld, rng=self._random)
        self._http = self._control_plane.client(ASK_TIMEOUT)
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
        """The components in the picture that can be used and offer *capability*, READY ones first."""
        return self._table.offering(capability)

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
        if self._current or await self._becomes_current():
            return self._table.offering(capability)
        try:
            records = await ask_capability(self._http, capability)
        except TransportError:
            if not self._complete:
                raise
            return self._table.offering(capability)
        return grouped(records, self._caller)

    async def call_api(self, component_id: str, path: str, method: str = "GET", data: object = None, **how: Any) -> Any:
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
                self._revision = revision
                return
            case Snapshot(revision=revision, records=records):
                self._table.replace(records)
                self._revision, self._complete = revision, True
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


def grouped(records: Iterable[ComponentRecord], shared: Caller | None = None) -> list[ComponentClient]:
    """One client for each component among the usable *records*, in their order."""
    by_id: dict[str, list[ComponentRecord]] = {}
    for record in records:
        by_id.setdefault(record.component_id, []).append(record)
    return [ComponentClient(each[0], _constant(each), shared) for each in by_id.values()]


def _constant(records: list[ComponentRecord]) -> Any:
    return lambda: records


async def ask_instances(client: HttpClient, component_id: str) -> list[ComponentRecord]:
    """All instances of a component, as the control plane knows them now; empty for one that it does not know.

    Raises InvalidIdError.
    """
    check_id(component_id)
    try:
        found: Mapping[str, Any] = await client.request(
            "GET", f"/api/components/{quote(component_id, safe='')}/instances"
        )
    except ComponentNotFoundError:
        return []
    return msgspec.convert(found["items"], list[ComponentRecord])


async def ask_capability(client: HttpClient, capability: str) -> list[ComponentRecord]:
    """The instances that can be used for *capability*, READY ones first, as the control plane knows them now.

    Raises InvalidIdError.
    """
    check_id(capability, "/capability", dots=True)
    found = await client.request("GET", f"/api/capabilities/{quote(capability, safe='')}/components")
    return msgspec.convert(found["items"], list[ComponentRecord])
