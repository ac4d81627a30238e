"""wait: for one or several, and for what."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def too_late(plane: Any, double: Any, hour: Any) -> Callable[[], None]:
    """`too_late()`: the next one who waits has got the snapshot when an hour passes."""

    def passes() -> None:
        hour.passes()
        # Whoever reads looks at the clock again.
        plane.publish(double.change(plane.revision + 1, "somebody", "starting", "ready"))

    return lambda: plane.on_stream.append(passes)


def test_wait_returns_when_the_state_is_there_already(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("wait", "hermes")

    assert result.exit_code == 0
    assert result.stderr.startswith("hermes  ready after ")


def test_wait_returns_when_the_state_comes(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "starting")]
    others = double.change(2, "engram", "starting", "ready")
    plane.publish_after_snapshot(others, double.change(3, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


@pytest.mark.parametrize("goal", ["stopped", "state=stopped"])
def test_wait_knows_other_states(tekton: Any, plane: Any, double: Any, goal: str) -> None:
    plane.components = [double.view("hermes", "stopped")]

    assert tekton("wait", "hermes", "--for", goal).exit_code == 0


def test_wait_for_a_state_that_does_not_exist_is_a_mistake_in_the_command(tekton: Any, plane: Any) -> None:
    result = tekton("wait", "hermes", "--for", "state=redy")

    assert result.exit_code == 2
    assert "one of unknown, registering" in result.stderr


def test_wait_without_names_is_for_capabilities_only(tekton: Any, plane: Any) -> None:
    assert tekton("wait").exit_code == 2


def test_wait_gives_up_after_its_timeout_and_says_what_it_saw(
    tekton: Any, plane: Any, double: Any, too_late: Callable[[], None]
) -> None:
    plane.components = [double.view("hermes", "starting")]
    too_late()

    result = tekton("wait", "hermes", "--timeout", "90s")

    assert result.exit_code == 4
    assert "gave up after 90 s (waiting for ready; hermes is starting)" in result.stderr


def test_wait_for_a_mistyped_name_fails_at_once(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    assert tekton("wait", "hermse").exit_code == 5


def test_wait_accepts_a_component_that_is_configured_but_not_registered(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "unknown", generation=0)]
    plane.publish_after_snapshot(double.change(2, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


def test_wait_for_readiness_ends_when_the_component_failed_for_good(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed", reason="exit code 1")]
    plane.whys["hermes"] = double.why("hermes", "failed", restart=None)

    result = tekton("wait", "hermes")

    assert result.exit_code == 1
    assert result.stderr == "error[component_failed]: hermes has failed: exit code 1\nhelp: tekton why hermes\n"


def test_wait_for_readiness_goes_on_while_a_restart_is_coming(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed")]
    plan = {"attempt": 1, "max": 5, "next_in": 0.5, "gave_up": False}
    plane.whys["hermes"] = double.why("hermes", "failed", restart=plan)
    plane.publish_after_snapshot(double.change(2, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


def test_wait_survives_a_restart_of_the_control_plane(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "starting")]
    plane.on_stream = [plane.drop_streams, lambda: plane.publish(double.change(2, "hermes", "starting", "ready"))]

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


def test_wait_for_several_ends_when_the_last_is_ready(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes"), double.view("engram", "starting")]
    plane.publish_after_snapshot(double.change(2, "engram", "starting", "ready"))

    result = tekton("wait", "hermes", "engram", "--timeout", "10s")

    assert result.exit_code == 0
    assert [line.split(" after ")[0] for line in result.stderr.splitlines()] == ["hermes  ready", "engram  ready"]


def test_wait_for_several_names_those_that_are_missing(
    tekton: Any, plane: Any, double: Any, too_late: Callable[[], None]
) -> None:
    plane.components = [double.view("hermes"), double.view("engram", "starting"), double.view("a", "unknown")]
    plane.components[2]["generation"] = 0
    too_late()

    result = tekton("wait", "hermes", "engram", "a", "--timeout", "90s")

    assert result.exit_code == 4
    assert "(waiting for ready; engram is starting, a is not registered)" in result.stderr


def test_wait_for_serving_waits_for_traffic_to_come_back(
    tekton: Any, plane: Any, double: Any, too_late: Callable[[], None]
) -> None:
    plane.components = [double.view("hermes", serving=False)]
    back = double.change(2, "hermes", "ready", "ready", kind="serving", after={"serving": True})
    plane.publish_after_snapshot(back)

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0
    too_late()
    assert tekton("wait", "hermes", "--for", "serving", "--timeout", "90s").exit_code == 4
    plane.publish_after_snapshot(double.change(4, "hermes", "ready", "ready", kind="serving"))
    assert tekton("wait", "hermes", "--for", "serving", "--timeout", "10s").exit_code == 0


def test_wait_for_completed_is_not_content_with_a_stop(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("migrate", "stopped", reason="stopped")]
    assert tekton("wait", "migrate", "--for", "completed", "--timeout", "50ms").exit_code == 4

    plane.components = [double.view("migrate", "stopped", reason="completed")]
    assert tekton("wait", "migrate", "--for", "completed").exit_code == 0


def test_wait_for_a_capability_needs_no_name(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes"), double.view("rhetor", "starting", capabilities=["chat"])]
    after = {"capabilities": ["chat"]}
    plane.publish_after_snapshot(double.change(2, "rhetor", "starting", "ready", after=after))

    result = tekton("wait", "--for", "capability=chat", "--timeout", "10s")

    assert result.exit_code == 0
    assert result.stderr.startswith("rhetor  capability=chat after ")


def test_wait_for_a_stop_is_not_hopeless_because_it_failed(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed")]
    plane.publish_after_snapshot(double.change(2, "hermes", "stopping", "stopped"))

    assert tekton("wait", "hermes", "--for", "stopped", "--timeout", "10s").exit_code == 0
