"""drain and scale, and a rolling restart."""

from typing import Any

import pytest


def test_drain_takes_traffic_away(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/components/hermes/drain"] = (
        200,
        {"component_id": "hermes", "serving": False, "instances": ["a", "b"]},
    )

    result = tekton("drain", "hermes")

    assert result.exit_code == 0
    assert result.stderr == "hermes  takes no more traffic (2 instances)\n"
    assert plane.bodies == [{"serving": False}]


def test_drain_can_be_undone_for_one_instance(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/components/hermes/drain"] = (
        200,
        {"component_id": "hermes", "serving": True, "instances": ["a"]},
    )

    result = tekton("drain", "--undo", "--instance", "a", "hermes")

    assert result.stderr == "hermes  takes traffic again (1 instance)\n"
    assert plane.bodies == [{"serving": True, "instance_uuid": "a"}]


def test_scale_waits_until_there_are_so_many(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/components/hermes/scale"] = (
        200,
        {"operation": "scale", "component_id": "hermes", "done": True},
    )

    result = tekton("scale", "hermes=3")

    assert result.exit_code == 0
    assert result.stderr.startswith("hermes  3 replicas in ")
    assert plane.requests == [("POST", "/api/components/hermes/scale?wait=1")]
    assert plane.bodies == [{"replicas": 3}]


@pytest.mark.parametrize("count", ["hermes", "=3", "hermes=", "hermes=0", "hermes=101", "hermes=x", "hermes=²"])
def test_scale_wants_a_name_and_a_number(tekton: Any, count: str) -> None:
    result = tekton("scale", count)
    assert result.exit_code == 2
    assert "is not a name and a number from 1 to 100, such as worker=3" in result.stderr


def test_a_restart_can_be_asked_to_roll(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("restart", "--rolling", "hermes")

    assert result.exit_code == 0
    assert result.stderr.startswith("hermes  restarted in ")
    assert plane.requests == [("POST", "/api/components/hermes/restart?wait=1&rolling=1")]
