"""Operations: what is done to a component because somebody asked for it. They go on when nobody waits for them.

Each is entered in the audit log before it begins, and what came of it after.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec

from tekton.background import BackgroundGroup
from tekton.core.audit.log import AuditLog
from tekton.service.auditing import concluded
from tekton.service.lineup import LineUp
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.tekton_errors import TektonError

_logger = logging.getLogger("tekton.system")

Operation = Literal["start", "stop", "restart", "roll"]


class Operations:
    """See the module. `stop` ends those that are under way."""

    def __init__(self, lineup: LineUp, audit: AuditLog, supervisor: Supervisor) -> None:
        self._lineup = lineup
        self._audit = audit
        self._supervisor = supervisor
        self._under_way = BackgroundGroup("operation")

    async def stop(self) -> None:
        """End what is under way."""
        await self._under_way.stop()

    async def operate(
        self, operation: Operation, component_id: str, *, force: bool = False
    ) -> "asyncio.Task[TektonError | None]":
        """Start, stop or restart a component; the operation goes on when nobody waits for it.

        *force*: a start passes over dependencies that cannot be used. The task's result is what it failed with. Raises
        the storage errors when the operation cannot be entered in the audit log; then nothing is done.
        """
        effect = await self._audit.intend(f"component.{operation}", component_id, "forced" if force else "")
        attempt = concluded(effect, self._operate(operation, component_id, force))
        return self._under_way.spawn(attempt, f"{operation} {component_id}")

    async def scale(self, component_id: str, replicas: int) -> "asyncio.Task[TektonError | None]":
        """Have another number of replicas, as `operate`. It holds until the specification is changed."""
        effect = await self._audit.intend("component.scale", component_id, str(replicas))
        spec = msgspec.structs.replace(self._supervisor.specs[component_id], replicas=replicas)
        self._lineup.scaled[component_id] = replicas
        name = f"scale of {component_id}"
        return self._under_way.spawn(concluded(effect, _verdict(self._supervisor.replace(spec), name)), name)

    async def _operate(self, operation: Operation, component_id: str, force: bool) -> TektonError | None:
        replicas = self._supervisor.replicas
        operations: dict[Operation, Callable[[str], Awaitable[None]]] = {
            "start": partial(replicas.start, force=force),
            "stop": replicas.stop,
            "restart": partial(replicas.restart, force=force),
            "roll": partial(replicas.roll, force=force),
        }
        return await _verdict(operations[operation](component_id), f"{operation} of {component_id}")


async def _verdict(attempt: Awaitable[None], what: str) -> TektonError | None:
    try:
        await attempt
    except TektonError as error:
        _logger.warning("%s failed: %s", what, error)
        return error
    return None
