"""What supervised components find around them, and share."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord
from tekton.supervisor.admission import Admission
from tekton.supervisor.exits import ExitKind
from tekton.supervisor.guard_client import ChildProcess
from tekton.supervisor.log_rotation import Rotation
from tekton.supervisor.privileges import Limits


class Spawner(Protocol):
    """What a component needs of the guard."""

    async def spawn(
        self,
        name: str,
        argv: list[str],
        *,
        cwd: str | Path,
        log: str | Path,
        env: Mapping[str, str] | None = None,
        meta: Mapping[str, str] | None = None,
        user: str | None = None,
        limits: Limits = ...,
        rotation: Rotation = ...,
    ) -> ChildProcess:
        """Start a process. Raises SpawnError."""
        ...

    async def stop(self, child: ChildProcess, grace: float) -> bool:
        """Ask a process to end, and have it killed after *grace* seconds."""
        ...

    def acknowledge(self, child: ChildProcess) -> None:
        """Forget a process that has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all supervised components share.

    `redact` removes secrets from text; `restarts` tells how often a unit was restarted automatically, `instances` which
    ones in the registry belong to it, best first. `exits` counts by component how processes ended; those asked to
    are `stopped`.
    """

    registry: ComponentRegistry
    guard: Spawner
    clock: Clock
    log_dir: Path
    redact: Callable[[str], str]
    restarts: Callable[[str], int]
    instances: Callable[[str], list[ComponentRecord]]
    admission: Admission
    exits: dict[str, Counter[ExitKind | Literal["stopped"]]] = field(default_factory=dict)
