"""From a message with which nobody got done to its dead letter."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from tekton.bus.envelope import Envelope
from tekton.bus.streams.consumer import Consumer, Dying
from tekton.bus.streams.office import Office
from tekton.bus.streams.store import Placed
from tekton.bus.streams.view import StreamView
from tekton.core.events import can_be_told

RETRY_AFTER: Final = 5.0
"""Seconds after which a dead letter that could not be written is tried again."""


class Burials:
    """Writes the dead letters of the consumer *name*; *changed* is called when one is written, or was not."""

    def __init__(
        self, name: str, view: StreamView, office: Office, monotonic: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._name = name
        self._view = view
        self._office = office
        self._monotonic = monotonic
        self._changed = changed

    def begin(self, consumer: Consumer, dying: Dying) -> "asyncio.Future[None]":
        """Write the letter of what is *dying*. The future is done when it is on the disk; nobody has to wait for it."""
        buried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What is told to nobody is no mistake: it is tried again.
        buried.add_done_callback(lambda done: done.cancelled() or done.exception())
        finding = self._office.ask(lambda: self._office.store.pick(self._view.name, [dying.sequence]))
        finding.add_done_callback(partial(self._found, consumer, dying, buried))
        return buried

    def _found(
        self,
        consumer: Consumer,
        dying: Dying,
        buried: "asyncio.Future[None]",
        found: "asyncio.Future[list[Envelope]]",
    ) -> None:
        if found.cancelled() or found.exception() is not None:
            self._end(consumer, dying, buried, found)
        elif not found.result():
            consumer.gone(dying.sequence)
            self._end(consumer, dying, buried, found)
        else:
            writing = self._office.bury(self._view, self._name, found.result()[0], dying)
            writing.add_done_callback(partial(self._end, consumer, dying, buried))

    def _end(
        self,
        consumer: Consumer,
        dying: Dying,
        buried: "asyncio.Future[None]",
        done: "asyncio.Future[list[Envelope]] | asyncio.Future[list[Placed]]",
    ) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            consumer.buried(dying.sequence)
        else:
            consumer.unburied(dying.sequence, self._monotonic() + RETRY_AFTER)
        if can_be_told(buried):
            if error is None:
                buried.set_result(None)
            else:
                buried.set_exception(error)
        self._changed()
