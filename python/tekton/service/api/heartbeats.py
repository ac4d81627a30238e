"""Heartbeats: one at a time, or a batch."""

import asyncio
from typing import Annotated

import msgspec

from tekton.core.heartbeat_monitor import ComponentHeartbeat, HeartbeatReply, Reason, SequenceNumber
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.api.fence import check_speaker
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    IllegalTransitionError,
    InvalidRegistrationError,
    StaleInstanceError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
    TooManyHeartbeatsError,
)

_AT_ONCE = 1000
"""Heartbeats of a batch that are taken before others get their turn: one to two milliseconds."""

_BATCH_ERRORS = (InvalidRegistrationError, StorageBusyError, StorageFullError, StorageUnknownError)


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A heartbeat of the component named in the path."""

    instance_uuid: str
    timestamp: float | None = None
    sequence: SequenceNumber | None = None
    state: str | None = None
    serving: bool | None = None
    reason: Reason | None = None
    metrics: dict[str, float] = {}


class Beats(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heartbeats of many components."""

    heartbeats: Annotated[list[ComponentHeartbeat], msgspec.Meta(max_length=10_000)]


class Replies(msgspec.Struct, frozen=True):
    """One reply per heartbeat, in the same order."""

    replies: list[HeartbeatReply]


class Heartbeats:
    """Handlers over the heartbeat monitor."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._monitor = system.monitor

    async def one(self, request: Request) -> HeartbeatReply:
        beat: Beat = request.body
        component_id = request.params["component_id"]
        if beat.state is None and beat.serving is None:
            return self._monitor.beat(component_id, beat.instance_uuid, beat.metrics, beat.sequence)
        request.act()
        return await self._monitor.process_heartbeat(
            ComponentHeartbeat(
                component_id=component_id,
                instance_uuid=beat.instance_uuid,
                timestamp=beat.timestamp,
                sequence=beat.sequence,
                state=beat.state,
                serving=beat.serving,
                reason=beat.reason,
                metrics=beat.metrics,
            )
        )

    async def many(self, request: Request) -> Replies:
        beats: list[ComponentHeartbeat] = request.body.heartbeats
        for component_id in {beat.component_id for beat in beats}:
            check_speaker(self._system, request, "components:heartbeat", component_id)
        replies: list[HeartbeatReply] = []
        for start in range(0, len(beats), _AT_ONCE):
            if start:
                await asyncio.sleep(0)
            replies += [await self._forgiving(beat) for beat in beats[start : start + _AT_ONCE]]
        return Replies(replies)

    async def _forgiving(self, beat: ComponentHeartbeat) -> HeartbeatReply:
        # One of a batch must not cost the others their beat.
        try:
            if beat.state is None and beat.serving is None:
                return self._monitor.beat(beat.component_id, beat.instance_uuid, beat.metrics, beat.sequence)
            return await self._monitor.process_heartbeat(beat)
        except (StaleInstanceError, IllegalTransitionError, TooManyHeartbeatsError):
            return self._monitor.reply(beat.component_id, beat.instance_uuid)


def routes(system: System) -> list[Route]:
    """The heartbeat routes."""
    api = Heartbeats(system)
    return [
        Route(
            "POST",
            "/api/components/{component_id}/heartbeat",
            api.one,
            summary="A heartbeat",
            permission="components:heartbeat",
            body=Beat,
            unique_keys=False,
            repeats="harmless",
            attributed=False,
            response=HeartbeatReply,
            vital=True,
            errors=(StaleInstanceError, IllegalTransitionError, TooManyHeartbeatsError, *_BATCH_ERRORS),
        ),
        Route(
            "POST",
            "/api/heartbeats",
            api.many,
            summary="A batch of heartbeats",
            permission="components:heartbeat",
            body=Beats,
            response=Replies,
            vital=True,
            max_body=4 * 1024 * 1024,
            unique_keys=False,
            repeats="harmless",
            errors=_BATCH_ERRORS,
        ),
    ]
