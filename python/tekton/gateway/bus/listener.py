"""Passes on to one socket what one subscription brings."""

from collections.abc import Callable, Sequence

from tekton.auth.subjects import Hearing
from tekton.bus.batches import parts
from tekton.bus.bus import Subscription
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.access import Caller
from tekton.gateway.bus.letters import may_be_letters, readable
from tekton.gateway.bus.publisher import Send
from tekton.gateway.frames import gap

Hears = Callable[[Caller], Hearing]
"""How much of the subscription somebody may hear. Raises a GatewayError when it is nothing."""


class Listener:
    """What the subscription *number* brings, as far as who has it may hear it, now.

    *caller* tells who that is, *hears* how much of it he may hear.
    """

    def __init__(
        self, number: int, subscription: Subscription, caller: Callable[[], Caller], hears: Hears, *, batched: bool
    ) -> None:
        self._number = number
        self._subscription = subscription
        self._current = caller
        self._caller = caller()
        self._hears = hears
        self._hearing = hears(self._caller)
        self._letters = may_be_letters(subscription.pattern)
        self._batched = batched

    async def run(self, send: Send) -> None:
        """Send all that comes, until the subscription ends. Raises what ends it."""
        number, subscription = self._number, self._subscription
        async for batch in subscription.batches():
            if subscription.gap:
                await send(gap(number, subscription.gap))
            heard = self._audible(batch)
            if len(heard) == 1 and not self._batched:
                await send(heard[0].frame(number))
                continue
            for part in parts(heard):
                if self._batched:
                    await send(Envelope.pack(number, part))
                else:
                    await send(*[envelope.frame(number) for envelope in part])

    def _audible(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        caller = self._current()
        if caller is not self._caller:
            self._hearing = self._hears(caller)
            self._caller = caller
        hears = caller.rights.hears
        if self._hearing is not Hearing.ALL:
            batch = [envelope for envelope in batch if hears(envelope.subject)]
        return readable(batch, hears) if self._letters else batch
