"""Components that were found: the client through which each is called, and how the control plane is asked for them."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from tekton.core.capability_service import Fallback, merged
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.utils.calls import Caller, Instances, described, method_for
from tekton.utils.tekton_errors import ComponentNotFoundError
from tekton.utils.tekton_http import HttpClient
from tekton.utils.tekton_ids import check_id

__all__ = ["ComponentClient", "Serving", "ask_instances", "ask_serving", "best_of", "grouped"]


class ComponentClient:
    """A component that was found: what is known about it, and its API.

    Calls go to any of its instances. Found through a `Discovery`, the client follows the changes of the instances and
    shares connections; else it calls those that it was found with, and each call opens a connection of its own unless
    it is made inside `async with`. Found for a capability for which it stands in, it puts its *parameters* into the
    data of each call.
    """

    __slots__ = ("_caller", "_instances", "_shared", "parameters", "record")

    def __init__(
        self,
        record: ComponentRecord,
        instances: Instances | None = None,
        shared: Caller | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.record = record
        self.parameters = parameters or {}
        self._instances = instances or (lambda: (record,))
        self._shared = shared
        self._caller: Caller | None = None

    def __repr__(self) -> str:
        return f"ComponentClient({self.component_id!r}, {self.endpoint!r}, {self.state.value})"

    @property
    def component_id(self) -> str:
        """The id of the component."""
        return self.record.component_id

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it can do."""
        return self.record.capabilities

    @property
    def state(self) -> ComponentState:
        """The state in which it was found."""
        return self.record.state

    @property
    def endpoint(self) -> str | None:
        """The base URL of the API of its best instance when it was found; None when it gave none."""
        return self.record.endpoint

    @property
    def instances(self) -> tuple[ComponentRecord, ...]:
        """The instances that calls go to."""
        return tuple(record for record in self._instances() if record.discoverable)

    async def call_api(
        self,
        path: str,
        method: str | None = None,
        data: object = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
    ) -> Any:
        """Send *data* (a JSON value or a struct; None: no body) to *path* and return the decoded answer.

        Without a *method* that is a POST where there is data, else a GET. *timeout* (10 seconds unless given) holds for
        all attempts together. *idempotent* says whether the request may arrive twice, where neither the method does
        (GET, PUT and DELETE may, POST and PATCH may not) nor an `Idempotency-Key` among the *headers*, for a component
        that heeds it. Raises
        NoUsableInstanceError, AllInstancesFailedError or another TransportError when no instance could be reached in
        time, the error that the component reports, or ProblemError with the status when that is none of Tekton's.
        """
        body = merged(data, self.parameters)
        call = described(path, method or method_for(data), body, query=query, headers=headers, idempotent=idempotent)
        caller = self._shared or self._caller
        if caller is not None:
            return await caller.call(self.component_id, self._instances, call, timeout)
        caller = Caller()
        try:
            return await caller.call(self.component_id, self._instances, call, timeout)
        finally:
            await caller.close()

    async def __aenter__(self) -> Self:
        if self._shared is None:
            self._caller = Caller()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        caller, self._caller = self._caller, None
        if caller is not None:
            await caller.close()


def best_of(instances: Sequence[ComponentRecord]) -> ComponentRecord | None:
    """The first READY instance that takes traffic, else the first DEGRADED one, else None."""
    usable = [record for record in instances if record.discoverable]
    return next((record for record in usable if record.state is ComponentState.READY), usable[0] if usable else None)


def grouped(
    records: Iterable[ComponentRecord], shared: Caller | None = None, parameters: Mapping[str, Any] | None = None
) -> list[ComponentClient]:
    """One client for each component among the usable *records*, in their order."""
    by_id: dict[str, list[ComponentRecord]] = {}
    for record in records:
        by_id.setdefault(record.component_id, []).append(record)
    return [ComponentClient(each[0], _constant(each), shared, parameters) for each in by_id.values()]


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


class Serving(msgspec.Struct, frozen=True):
    """Who serves a capability: instances, READY ones first, and as whom if they are a fallback's."""

    items: list[ComponentRecord]
    fallback: Fallback | None = None

    def clients(self, shared: Caller | None = None) -> list[ComponentClient]:
        """One client for each component."""
        return grouped(self.items, shared, self.fallback.parameters if self.fallback else None)


async def ask_serving(client: HttpClient, capability: str) -> Serving:
    """The instances that serve *capability*, as the control plane knows them now. Raises InvalidIdError."""
    check_id(capability, "/capability", dots=True)
    found = await client.request("GET", f"/api/capabilities/{quote(capability, safe='')}/components")
    return msgspec.convert(found, Serving)
