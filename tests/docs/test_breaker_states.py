"""docs/concepts/degradation.md has the states and the settings of a circuit breaker as they are in the code."""

import re
from pathlib import Path

import msgspec

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import TRANSITIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "concepts" / "degradation.md").read_text()


def test_the_table_of_states_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)

    assert rows == [(state.value, event.value, after.value) for (state, event), after in TRANSITIONS.items()]


def test_the_settings_have_their_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\w.]+) \| ", PAGE, re.MULTILINE)

    defaults = {one.name: one.default for one in msgspec.structs.fields(BreakerSettings)}
    assert rows == [(name, "None" if value is None else f"{value:g}") for name, value in defaults.items()]
