"""Staying registered: one instance of a component, from its first word to the control plane to its last.

    async with Registration(ComponentRegistration(component_id="greeter")) as registration:
        registration.mark_ready()
        ...

    registration = await register_component("greeter", capabilities=["greet"])     # the same in simple calls
    ...
    await deregister_component(registration)

A background task brings the control plane's view to what is wanted: registered, then READY, and a heartbeat every
interval. Nothing that the control plane does ends it. When it is away, the task tries again with growing, jittered
delays; when it has forgotten the instance, or has declared it FAILED, the task registers anew. An instance that the
supervisor has started (`supervised`) leaves the end of its life to the supervisor, who sees the process exit.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from tekton.background import BackgroundTask
from tekton.core.heartbeat_monitor import HeartbeatReply
from tekton.core.lifecycle import (
    PATH_TO_READY,
    USABLE,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    check_registration,
)
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import ComponentNotFoundError, StaleInstanceError, TektonError, TransportError

__all__ = ["Registration", "deregister_component", "register_component"]

_logger = logging.getLogger("tekton.registration")

REQUEST_TIMEOUT = 5.0
GOODBYE_TIMEOUT = 2.0
BACKOFF = (0.5, 10.0)
JITTER = 0.1

# A heartbeat every ten seconds meets the moment in which a server closes idle connections; each gets its own.
_HEADERS = {"Connection": "close"}

Metrics = Callable[[], Mapping[str, float]]

_LEAVING: dict[ComponentState, tuple[tuple[ComponentState, str | None], ...]] = {
    **dict.fromkeys(USABLE, ((ComponentState.STOPPING, None),)),
    **dict.fromkeys(
        (ComponentState.REGISTERING, ComponentState.INITIALIZING, ComponentState.STARTING),
        ((ComponentState.FAILED, "stopped"), (ComponentState.STOPPING, None)),
    ),
}
"""How an instance says that it is on its way out. The reason `stopped` keeps it from being restarted."""


class Registration:
    """Keeps one instance registered, READY and alive in the control plane's eyes.

    *control_plane* is that of the environment unless it is given. *metrics* is asked for the numbers that go with
    each heartbeat. *before_report* is awaited before it speaks to the control plane by itself. Raises
    InvalidRegistrationError, and ConfigurationError for a wrong environment.
    """

    def __init__(
        self,
        registration: ComponentRegistration,
        control_plane: ControlPlane | None = None,
        *,
        supervised: bool = False,
        metrics: Metrics = dict,
        before_report: Callable[[], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        check_registration(registration)
        self.registration = registration
        self.supervised = supervised
        self._client = (control_plane or ControlPlane.from_environment()).client(REQUEST_TIMEOUT)
        self._path = f"/api/components/{registration.component_id}"
        self._instance = {"instance_uuid": registration.instance_uuid}
        self._metrics = metrics
        self._before_report = before_report
        self._random = rng or random.Random()
        self._task = BackgroundTask(f"registration of {registration.component_id}")
        self._changed = asyncio.Event()
        self._progress = asyncio.Condition()
        self._state: ComponentState | None = None
        self._asked = False
        self._tried = False
        self._registered = False
        self._wants_ready = False
        self._serving, self._serving_reason = True, ""
        self._told_serving = True
        self._impaired, self._told_impaired = "", False
        self._interval = 10.0
        self._failures = 0
        self._heartbeats = 0

    @property
    def state(self) -> ComponentState | None:
        """The state that the control plane told last; None before it has told any."""
        return self._state

    @property
    def tried(self) -> bool:
        """Whether the control plane was asked to take the registration, with whatever success."""
        return self._tried

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()
        await self.close()

    def start(self) -> None:
        """Begin to register and to stay registered. Returns at once."""
        self._task.start(self._run())

    def mark_ready(self) -> None:
        """From now on the instance is to be READY. Returns at once."""
        self._wants_ready = True
        self._changed.set()

    async def wait_registered(self, *, ready: bool = False) -> None:
        """Return once the control plane has taken the registration (*ready*: and made the instance READY)."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._registered and (not ready or self._state in USABLE))

    def set_serving(self, serving: bool, reason: str = "") -> None:
        """From now on the instance takes traffic, or (False) does not; its state stays. Returns at once."""
        self._serving, self._serving_reason = serving, reason[:1024]
        self._changed.set()

    def set_impaired(self, reason: str) -> None:
        """From now on, where it would be READY, the instance is DEGRADED for *reason*; unless that is empty.

        Returns at once.
        """
        self._impaired = reason[:1024]
        self._changed.set()

    async def leave(self, failure: str | None = None) -> None:
        """Stop the heartbeats and tell that the instance is STOPPING, or FAILED with the reason *failure*.

        Never fails: a control plane that does not answer finds out by itself.
        """
        await self._task.stop()
        # An unanswered registration may have arrived.
        state = self._state or (ComponentState.REGISTERING if self._asked else None)
        if state is None or (self.supervised and failure is None):
            return
        steps = _LEAVING.get(state, ()) if failure is None else ((ComponentState.FAILED, failure),)
        for step, reason in steps:
            if not await self._tell(step, reason):
                return

    async def close(self) -> None:
        """Tell that the instance has STOPPED, if it was STOPPING, and close the connections. Never fails."""
        await self._task.stop()
        if self._state is ComponentState.STOPPING and not self.supervised:
            await self._tell(ComponentState.STOPPED, None)
        await self._client.close()

    async def abandon(self) -> None:
        """End without a word: the control plane finds out by itself."""
        await self._task.stop()
        await self._client.close()

    # One request each; they raise TransportError and what the control plane reports.

    async def register(self) -> ComponentRecord:
        """Register the instance; registering it again only updates what it says about itself."""
        registration = await self._completed() if self.supervised else self.registration
        self._asked = True
        answer = await self._request("POST", "/api/components", registration)
        self._interval = float(answer["lease"]["interval"])
        self._registered = True
        self._told_serving = True
        return self._note(answer["component"])

    async def make_ready(self) -> ComponentRecord:
        """Walk the instance to READY."""
        return self._note(await self._request("POST", f"{self._path}/ready", self._instance))

    async def heartbeat(self) -> HeartbeatReply:
        """Send a sign of life with the metrics."""
        metrics = {name: value for name, value in self._metrics().items() if math.isfinite(value)}
        self._heartbeats += 1
        beat = {**self._instance, "metrics": metrics, "sequence": self._heartbeats}
        serving = self._serving
        if not (serving and self._told_serving):
            beat |= {"serving": serving, "reason": self._serving_reason or None}
        reply = msgspec.convert(await self._request("POST", f"{self._path}/heartbeat", beat), HeartbeatReply)
        self._told_serving = serving
        self._interval = reply.next_interval
        self._registered = reply.known
        self._state = reply.state or self._state
        return reply

    async def deregister(self) -> ComponentRecord:
        """Remove the instance from the registry, as if it had never been."""
        answer = await self._client.request("DELETE", self._path, headers=_HEADERS, query=self._instance)
        self._registered, self._state = False, None
        return msgspec.convert(answer, ComponentRecord)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            delay = await self._step()
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _step(self) -> float | None:
        """Come closer to what is wanted; how many seconds to wait then (None: until something changes)."""
        try:
            if self._before_report is not None:
                await self._before_report()
            await self._reconcile()
        except TektonError as error:
            return self._after_failure(error)
        finally:
            self._tried = True
        async with self._progress:
            self._progress.notify_all()
        if self._failures:
            _logger.info("%s: the control plane answers again", self.registration.component_id)
            self._failures = 0
        return self._interval * self._random.uniform(1 - JITTER, 1) if self._beats else None

    @property
    def _beats(self) -> bool:
        """Who takes long to become ready must show that it lives; of a supervised one the supervisor knows."""
        return self._wants_ready or not self.supervised

    async def _reconcile(self) -> None:
        if not self._registered:
            await self.register()
            _logger.info("%s is registered as %s", self.registration.component_id, self.registration.instance_uuid)
            if not self._wants_ready:
                return
        if not self._beats:
            return
        if self._wants_ready and self._state in PATH_TO_READY and self._state not in USABLE:
            await self.make_ready()
            # Whoever registered itself has its lease by this; a supervised one has it from its first heartbeat on.
            if not self.supervised and self._serving and not self._impaired:
                return
        await self._show_impaired()
        reply = await self.heartbeat()
        if not reply.known:
            raise ComponentNotFoundError(self.registration.component_id)

    async def _show_impaired(self) -> None:
        if self._impaired and self._state is ComponentState.READY:
            self._note(await self._put_state(ComponentState.DEGRADED, self._impaired))
            self._told_impaired = True
        elif self._told_impaired and not self._impaired and self._state is ComponentState.DEGRADED:
            await self.make_ready()
            self._told_impaired = False

    def _after_failure(self, error: TektonError) -> float:
        if not isinstance(error, TransportError):
            # Whatever was refused: what we believe about the instance is not what the control plane believes.
            self._registered = self._asked = False
        if self._failures == 0:
            _logger.warning("%s: %s; trying again", self.registration.component_id, _sentence(error))
        shortest, longest = BACKOFF
        limit = min(longest, shortest * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return self._random.uniform(limit / 2, limit)

    async def _completed(self) -> ComponentRegistration:
        """The registration, completed by what the supervisor has said of the same instance."""
        own = self.registration
        try:
            found = await self._request("GET", f"{self._path}/instances", None)
        except ComponentNotFoundError:
            return own
        instances = msgspec.convert(found["items"], list[ComponentRecord])
        known = next((record for record in instances if record.instance_uuid == own.instance_uuid), None)
        if known is None:
            return own
        return msgspec.structs.replace(
            own,
            capabilities=own.capabilities or known.capabilities,
            dependencies=own.dependencies or known.dependencies,
            max_instances=max(own.max_instances, known.max_instances),
            metadata={**known.metadata, **own.metadata},
        )

    async def _tell(self, state: ComponentState, reason: str | None) -> bool:
        try:
            self._note(await self._put_state(state, reason, GOODBYE_TIMEOUT))
        except TektonError as error:
            _logger.info("%s: not told that it is %s: %s", self.registration.component_id, state.value, error)
            return False
        return True

    async def _put_state(self, state: ComponentState, reason: str | None, timeout: float | None = None) -> Any:
        change = {**self._instance, "state": state.value, "reason": reason}
        return await self._request("PUT", f"{self._path}/state", change, timeout)

    async def _request(self, method: str, path: str, body: object, timeout: float | None = None) -> Any:
        return await self._client.request(method, path, body, _HEADERS, timeout)

    def _note(self, record: Any) -> ComponentRecord:
        known = msgspec.convert(record, ComponentRecord)
        self._state = known.state
        return known


async def register_component(
    component_id: str,
    *,
    control_plane: ControlPlane | None = None,
    ready: bool = True,
    metrics: Metrics = dict,
    timeout: float = 10.0,
    **description: Any,
) -> Registration:
    """Register a component and keep it registered and alive, until `deregister_component`; READY, too, unless told.

    *description* is what `ComponentRegistration` takes beside the id: `capabilities`, `dependencies`, `endpoint`,
    `component_name`, `version`, `metadata`, `forget_after`. Raises InvalidRegistrationError, and TransportError when no
    control plane has taken the registration within *timeout* seconds; then nothing goes on in the background.
    """
    described = ComponentRegistration(component_id=component_id, **description)
    registration = Registration(described, control_plane or await ControlPlane.locate(), metrics=metrics)
    if ready:
        registration.mark_ready()
    registration.start()
    try:
        async with asyncio.timeout(timeout):
            await registration.wait_registered(ready=ready)
    except TimeoutError:
        await registration.close()
        raise TransportError(component_id, f"not registered within {timeout:g} s") from None
    return registration


async def deregister_component(registration: Registration) -> None:
    """Tell the control plane that the component has stopped, and end what kept it registered. Never fails."""
    await registration.leave()
    await registration.close()


def _sentence(error: TektonError) -> str:
    if isinstance(error, ComponentNotFoundError | StaleInstanceError):
        return "no longer known to the control plane"
    return f"{error}"
