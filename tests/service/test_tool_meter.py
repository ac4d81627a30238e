"""Counting calls of tools: what came of them, and how many tools have numbers of their own."""

import asyncio

import pytest

from tekton.core.metrics.metrics import Reading
from tekton.gateway.errors import PermissionDeniedError
from tekton.service.tool_meter import MOST_TOOLS, OTHER, ToolMeter
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import (
    InvalidArgumentsError,
    NoUsableInstanceError,
    ProblemError,
    ToolBusyError,
    ToolFailedError,
    ToolTimeoutError,
)


def calls(meter: ToolMeter) -> dict[tuple[str, ...], float]:
    return {one.labels: one.value for one in meter.read() if one.name == "tekton_tool_calls"}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidArgumentsError("x", "/a", "missing"), "refused"),
        (PermissionDeniedError("components:control"), "refused"),
        (ProblemError(404, "out_of_stock", "no apples"), "refused"),
        (ToolFailedError("x", "it is broken"), "failed"),
        (NoUsableInstanceError("shop", []), "failed"),
        (RuntimeError("a defect"), "failed"),
        (ToolTimeoutError("x", 1.0), "timeout"),
        (ToolBusyError("x", 1, 1), "busy"),
        (asyncio.CancelledError(), "cancelled"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_call_that_ends_with_an_error_is_counted_by_what_it_is(error: BaseException, outcome: str) -> None:
    meter = ToolMeter(ManualClock())

    with pytest.raises(type(error)), meter.call("shop.x"):
        raise error

    assert calls(meter) == {("shop.x", outcome): 1}
    assert meter.in_progress == 0


def test_a_call_is_counted_with_its_time_when_it_is_over() -> None:
    clock = ManualClock()
    meter = ToolMeter(clock)

    with meter.call("shop.x"):
        clock.advance(2.0)
        during = (meter.in_progress, calls(meter))

    (seconds,) = (one.value for one in meter.read() if one.name == "tekton_tool_call_duration")
    assert during == (1, {})
    assert calls(meter) == {("shop.x", "ok"): 1}
    assert (seconds.count, seconds.sum) == (1, 2.0)  # type: ignore[union-attr]


def test_tools_beyond_those_that_have_numbers_of_their_own_share_some() -> None:
    meter = ToolMeter(ManualClock())

    for number in range(MOST_TOOLS + 2):
        with meter.call(f"shop.tool-{number}"):
            pass
    with meter.call("shop.tool-0"):
        pass

    counted = calls(meter)
    assert (counted["shop.tool-0", "ok"], counted[OTHER, "ok"]) == (2, 2)
    assert len(counted) == MOST_TOOLS + 1
    assert isinstance(next(iter(meter.read())), Reading)
