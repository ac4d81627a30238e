"""How a component reaches the control plane, and with what it proves there who it is."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tekton.supervisor.telemetry import TelemetryEnvironment
from tekton.utils.tekton_config import ComponentSpec


class Credentials(Protocol):
    """The files with which components prove who they are."""

    def provide(self, component_id: str, user: str | None) -> Path | None:
        """See to it that a component that runs as *user* has one. Blocks for as long as the disk does."""
        ...

    def path(self, component_id: str) -> Path | None:
        """That of a component which has been provided with one."""
        ...


@dataclass(frozen=True, slots=True)
class ControlPlaneAddress:
    """How a component reaches the control plane."""

    url: str
    socket: Path | None = None
    credentials: Credentials | None = None
    telemetry: TelemetryEnvironment | None = None

    def environment(self, component_id: str, *, private: bool = True) -> dict[str, str]:
        """The variables that tell it. *private*: with what only our own user can use."""
        paths = {
            "TEKTON_SOCKET": self.socket if private else None,
            "TEKTON_CREDENTIAL_FILE": None if self.credentials is None else self.credentials.path(component_id),
        }
        return {"TEKTON_URL": self.url} | {name: str(path) for name, path in paths.items() if path is not None}

    async def provide(self, spec: ComponentSpec) -> None:
        """See to it that a component can prove who it is."""
        if self.credentials is not None:
            await asyncio.to_thread(self.credentials.provide, spec.name, spec.user)
