"""Finding other components through the control plane, and calling them.

    engram = await find_component("engram")
    if engram:
        await engram.call_api("/api/memory/store", method="POST", data={"key": "a", "value": 1})

Discovery answers with components that can be used: READY ones first, then DEGRADED ones. What it answers is true at
that moment; who keeps it for long finds again when a call fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec

from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.utils.tekton_config import DEFAULT_PORTS, ComponentEnvironment, TektonConfig, component_environment
from tekton.utils.tekton_errors import ComponentNotFoundError, TransportError
from tekton.utils.tekton_http import HttpClient

__all__ = ["ComponentClient", "ControlPlane", "find_component", "find_components_by_capability"]

_ON_THIS_MACHINE = "http://localhost:"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the control plane is reached: a Unix *socket* where there is one, else *url* with the *credential*."""

    url: str = "http://localhost:8010"
    socket: Path | None = None
    credential: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> "ControlPlane":
        """The control plane that the environment names, else the one of the configured data directory.

        Raises ConfigurationError when the environment or the configuration is wrong.
        """
        environment = component_environment()
        if environment.socket is None and environment.url.startswith(_ON_THIS_MACHINE):
            return cls._on_this_machine(environment)
        socket = environment.socket if environment.socket and environment.socket.exists() else None
        return cls(environment.url, socket, environment.credential())

    @classmethod
    def _on_this_machine(cls, environment: ComponentEnvironment) -> "ControlPlane":
        config = TektonConfig.load()
        port = environment.url.removeprefix(_ON_THIS_MACHINE)
        if port not in (str(DEFAULT_PORTS["tekton"]), str(config.port)):
            return cls(environment.url, credential=environment.credential())
        socket = config.data_dir / "run" / "control.sock"
        return cls(f"{_ON_THIS_MACHINE}{config.port}", socket if socket.exists() else None, environment.credential())

    def client(self, timeout: float = 10.0) -> HttpClient:
        """A new client of it; *timeout* (seconds) is that of a whole request."""
        if self.socket is not None:
            # The socket lies where only its owner gets: it needs no credential.
            return HttpClient(socket=self.socket, timeout=timeout)
        return HttpClient(self.url, credential=self.credential, timeout=timeout)


class ComponentClient:
    """A component that was found: what the control plane knows about it, and its API.

    Every call opens a connection of its own, unless it is made inside `async with`, which keeps one open.
    """

    def __init__(self, record: ComponentRecord) -> None:
        self.record = record
        self._client: HttpClient | None = None

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
        """The base URL of its API; None when it gave none."""
        return self.record.endpoint

    async def call_api(
        self,
        path: str,
        method: str = "GET",
        data: object = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send *data* (a JSON value or a struct; None: no body) to *path* and return the decoded answer.

        Raises TransportError when the component cannot be reached within *timeout* seconds (10 unless given), the
        error that it reports, or ProblemError with the status when that is none of Tekton's.
        """
        path = f"/{path.lstrip('/')}"
        if self._client is not None:
            return await self._client.request(method, path, data, timeout=timeout, query=query)
        async with self._connect() as client:
            return await client.request(method, path, data, timeout=timeout, query=query)

    async def __aenter__(self) -> Self:
        self._client = self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connect(self) -> HttpClient:
        if self.endpoint is None:
            raise TransportError(self.component_id, "it has registered without an endpoint")
        return HttpClient(self.endpoint)


async def find_component(component_id: str, *, control_plane: ControlPlane | None = None) -> ComponentClient | None:
    """The component with this id; None when there is none, or none that can be used.

    The control plane is that of the environment unless it is given. Raises TransportError when it does not answer.
    """
    async with (control_plane or ControlPlane.from_environment()).client() as client:
        try:
            found = await client.request("GET", f"/api/components/{quote(component_id, safe='')}")
        except ComponentNotFoundError:
            return None
    record = msgspec.convert(found, ComponentRecord)
    return ComponentClient(record) if record.usable else None


async def find_components_by_capability(
    capability: str, *, control_plane: ControlPlane | None = None
) -> list[ComponentClient]:
    """All components that can be used and offer *capability*, READY ones first; see `find_component`."""
    async with (control_plane or ControlPlane.from_environment()).client() as client:
        found = await client.request("GET", f"/api/capabilities/{quote(capability, safe='')}/components")
    return [ComponentClient(record) for record in msgspec.convert(found["items"], list[ComponentRecord])]
