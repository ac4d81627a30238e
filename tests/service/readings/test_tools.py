"""What is read of tools."""

from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from tekton.service.readings.tools import component_tools
from tekton.service.tool_meter import ToolMeter
from tekton.service.tools import ComponentTools
from tekton.testing.clock import ManualClock


def test_how_many_there_are_and_how_calls_of_them_end(read: Any) -> None:
    meter = ToolMeter(ManualClock())
    with meter.call("shop.place"):
        pass
    tools = cast(ComponentTools, SimpleNamespace(registry=["shop.place", "shop.track"], meter=meter))

    names = ("tekton_tools", "tekton_tool_calls_in_progress", "tekton_tool_calls")
    values = [read(partial(component_tools, tools), name) for name in names]

    assert values == [2, 0, {("shop.place", "ok"): 1}]
