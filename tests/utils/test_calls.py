"""Tests of tekton.utils.calls with a transport of the test's own: what is tried, and what is held against whom."""

from collections.abc import Mapping

import msgspec
import pytest
from component_records import component_record

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import BreakerState
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.testing import virtual_time
from tekton.utils.breakers import Breakers
from tekton.utils.calls import Call, Caller, Heard
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import ProblemError, TransportError
from tekton.utils.tekton_http import Answer

CHUNK = ServerSentEvent("chunk", "1", "")
UNAVAILABLE = Answer(503, {}, b'{"status":503,"code":"away","detail":"away"}')


class Recorded:
    """A transport that has sent what it was given, and then does as *outcome* says, after it has told an event."""

    def __init__(self, outcome: Answer | TransportError) -> None:
        self.sent: list[bytes | None] = []
        self._outcome = outcome

    def at(self, base_url: str) -> "Recorded":
        del base_url
        return self

    async def close(self) -> None: ...

    async def send(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
        heard: Heard | None = None,
    ) -> Answer:
        del method, path, headers, timeout, query
        self.sent.append(None if json is None else msgspec.json.encode(json))
        if heard is not None:
            await heard(CHUNK)
        if isinstance(self._outcome, TransportError):
            raise self._outcome
        return self._outcome


def instances() -> list[ComponentRecord]:
    return [
        component_record("rhetor", name, endpoint="http://127.0.0.1:1", max_instances=2, state=ComponentState.READY)
        for name in ("1", "2")
    ]


async def test_what_cannot_be_sent_is_not_held_against_the_component() -> None:
    breakers = Breakers({"rhetor": BreakerSettings(failure_threshold=2)})
    transport = Recorded(Answer(200, {}, b"1"))
    caller = Caller(hook=breakers, transport=transport)

    for _ in range(5):
        with pytest.raises(TypeError, match="object"):
            await caller.call("rhetor", instances, Call("POST", "/x", {"x": object()}))

    breaker = breakers.breaker("rhetor")
    assert breaker is not None
    assert (breaker.state, transport.sent) == (BreakerState.CLOSED, [])
    assert await caller.call("rhetor", instances, Call("POST", "/x", {"x": 1})) == 1
    assert await caller.call("rhetor", instances, Call("GET", "/x")) == 1
    assert transport.sent == [b'{"x":1}', None]


@pytest.mark.parametrize(
    "outcome", [TransportError("http://127.0.0.1:1", "cut short"), UNAVAILABLE], ids=["cut", "503"]
)
@pytest.mark.parametrize("part", [True, False], ids=["part", "aside"])
@virtual_time
async def test_an_answer_that_was_heard_in_part_does_not_begin_anew(
    outcome: Answer | TransportError, part: bool
) -> None:
    heard: list[ServerSentEvent] = []

    async def hear(event: ServerSentEvent) -> bool:
        heard.append(event)
        return part

    caller = Caller(transport=Recorded(outcome))
    attempts = 1 if part else caller.most_attempts

    with pytest.raises((TransportError, ProblemError)):
        await caller.call("rhetor", instances, Call("POST", "/x", {}, harmless=True, heard=hear))

    assert heard == [CHUNK] * attempts
