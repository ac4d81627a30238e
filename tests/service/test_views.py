"""Views: health in one word, and sums."""

import msgspec
import pytest

from tekton.core.lifecycle import ComponentState
from tekton.service.views import health_mark, total, unregistered
from tekton.supervisor.usage import ProcessUsage

RECORD = unregistered("hermes", (), ())


@pytest.mark.parametrize(
    ("state", "serving", "doubt", "health"),
    [
        ("ready", True, None, "ok"),
        ("ready", True, "flapping", "warn"),
        ("ready", False, None, "warn"),
        ("degraded", True, None, "warn"),
        ("failed", True, None, "fail"),
        ("starting", True, None, None),
        ("stopped", True, None, None),
        ("unknown", True, None, None),
    ],
)
def test_the_health_of_a_component_is_one_word(
    state: str, serving: bool, doubt: str | None, health: str | None
) -> None:
    record = msgspec.structs.replace(RECORD, state=ComponentState(state), serving=serving)

    assert health_mark(record, doubt) == health


def test_what_several_processes_use_is_added_up() -> None:
    assert total([ProcessUsage(0.5, 100), None, ProcessUsage(1.0, 200)]) == (1.5, 300)


def test_of_processes_that_nobody_has_seen_nothing_is_known() -> None:
    assert total([None, None]) == total([]) == (None, None)
