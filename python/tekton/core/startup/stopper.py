"""Stopping one component: states and stop function.

A stop is *owed* from the moment a start function is called until the stop function has been called, or the start
function ended by itself without success. What is owed is paid before the component is started again, and when a
start is given up, so that nothing is left running without an owner.

Before a usable component is stopped it is *drained*, if its handler wants that: it stays what it is but does not serve,
so that those who find it learn in time to call somebody else. That ends early with the component.

States that the stop brings about are facts and do not wait for the disk: a component can be stopped on a full disk.
"""

import asyncio
import logging
from contextlib import suppress

from tekton.core.calls import UserCalls, call, describe
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import HealthMonitor
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.core.startup.signals import Signals
from tekton.core.startup.start_plan import DRAINING, Handler
from tekton.core.startup.start_tally import StartTally
from tekton.core.units import Units
from tekton.utils.tekton_errors import ComponentError, RegistryError, StorageError

_ON_ITS_WAY = frozenset({ComponentState.REGISTERING, ComponentState.INITIALIZING, ComponentState.STARTING})

_logger = logging.getLogger("tekton.startup")


class Stopper:
    """Stops components, and remembers who is owed a stop."""

    def __init__(
        self,
        registry: ComponentRegistry,
        units: Units,
        signals: Signals,
        calls: UserCalls,
        health: HealthMonitor,
        *,
        tally: StartTally,
    ) -> None:
        self._registry = registry
        self._units = units
        self._signals = signals
        self._calls = calls
        self._health = health
        self._tally = tally
        self._owed: set[str] = set()

    def owe(self, unit: str) -> None:
        """A start function is about to be called."""
        self._owed.add(unit)

    def settle(self, unit: str) -> None:
        """There is nothing to stop any more."""
        self._owed.discard(unit)

    async def clean_up(self, handler: Handler) -> None:
        """Call the stop function if a stop is owed; the state stays. Never raises: a failure is logged."""
        if handler.unit not in self._owed:
            return
        failure = await self._call(handler)
        if failure is not None:
            _logger.warning("stopping what was left of %s: %s", handler.unit, failure)

    async def stop(self, handler: Handler, reason: str) -> ComponentError | None:
        """STOPPING, the stop function, STOPPED; by way of FAILED when the component was not up yet.

        The result is None, or why the stop function failed; then the component is FAILED.
        """
        await self._drain(handler)
        records = [r for r in self._units.instances(handler.unit) if r.state is not ComponentState.STOPPED]
        for record in records:
            self._begin(record, reason)
        failure = await self._call(handler) if records or handler.unit in self._owed else None
        for record in records:
            await self._conclude(record, reason, failure)
        return None if failure is None else ComponentError(handler.unit, f"stop failed: {failure}")

    async def _drain(self, handler: Handler) -> None:
        """Take traffic away, and give those who know of it time to hear that."""
        usable = [record for record in self._units.instances(handler.unit) if record.usable]
        if not usable or not handler.drain:
            return
        self._tally.drained += 1
        self._health.leave_traffic(handler.unit)
        with self._signals.watch([handler.unit]) as watch, suppress(TimeoutError):
            for record in usable:
                self._registry.observe_serving(record.component_id, record.instance_uuid, False, DRAINING)
            async with asyncio.timeout(handler.drain):
                while any(record.usable for record in self._units.instances(handler.unit)):
                    await watch.changed()
                    watch.take()

    def _begin(self, record: ComponentRecord, reason: str) -> None:
        key = (record.component_id, record.instance_uuid)
        if record.state in _ON_ITS_WAY:
            self._registry.observe(*key, ComponentState.FAILED, reason)
        self._registry.observe(*key, ComponentState.STOPPING, reason)

    async def _conclude(self, record: ComponentRecord, reason: str, failure: str | None) -> None:
        key = (record.component_id, record.instance_uuid)
        if failure is not None:
            self._registry.observe(*key, ComponentState.FAILED, f"stop failed: {failure}")
            return
        try:
            await self._registry.set_state(*key, ComponentState.STOPPED, reason)
        except RegistryError:
            # It said so itself, or is gone.
            return
        except StorageError:
            self._registry.observe(*key, ComponentState.STOPPED, reason)

    async def _call(self, handler: Handler) -> str | None:
        """Call the stop function. The result is None, or why it failed."""
        self.settle(handler.unit)
        if handler.stop_func is None:
            return None
        task = self._calls.spawn(call(handler.stop_func), "stop function", handler.unit)
        await asyncio.wait({task}, timeout=handler.stop_timeout)
        if not task.done():
            await self._calls.end(task)
            return f"the stop function did not return within {handler.stop_timeout:g} s"
        if task.cancelled():
            return "the stop function was cancelled"
        outcome = task.result()
        if outcome.error is not None:
            return describe(outcome.error)
        return "the stop function returned False" if outcome.value is False else None
