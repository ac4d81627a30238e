"""events: what happened, and what is happening."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from tekton.cli.client import connect
from tekton.cli.events import FIELDS, line
from tekton.cli.options import Target
from tekton.cli.render import clock_time
from tekton.cli.unit_names import UnitNames


@pytest.fixture
def past(plane: Any, double: Any) -> Any:
    plane.components = [double.view("hermes"), double.view("engram"), double.view("fresh", "unknown", generation=0)]
    plane.revision = 4

    def entry(*arguments: Any, **fields: Any) -> Any:
        change = double.change(*arguments, **fields)
        return {name: change[name] for name in FIELDS}

    plane.histories = {  # newest first, as the registry tells them
        "hermes": [
            entry(4, "hermes", "ready", "failed", reason="exited with code 1"),
            entry(1, "hermes", None, "registering", kind="registered"),
        ],
        "engram": [entry(3, "engram", "starting", "ready"), entry(2, "engram", "initializing", "starting")],
    }
    return plane


def test_events_of_all_components_stand_in_the_order_in_which_they_happened(
    tekton: Any, past: Any, double: Any
) -> None:
    result = tekton("events")

    times = [clock_time(double.AT + revision) for revision in (1, 2, 3, 4)]
    assert result.stdout.splitlines() == [
        f"{times[0]}  hermes        registered",
        f"{times[1]}  engram        initializing → starting",
        f"{times[2]}  engram        starting → ready",
        f"{times[3]}  hermes        ready → failed  exited with code 1",
    ]


def test_a_stop_that_was_asked_for_needs_no_reason(double: Any) -> None:
    asked_for = line(double.change(1, "hermes", "ready", "stopping", reason="stopped"))
    broken = line(double.change(1, "hermes", "ready", "failed", reason="exit code 1"))

    assert click.unstyle(asked_for).endswith("hermes        ready → stopping")
    assert click.unstyle(broken).endswith("hermes        ready → failed  exit code 1")


def test_events_can_be_limited_to_components_and_to_the_last_ones(tekton: Any, past: Any) -> None:
    assert len(tekton("events", "engram").stdout.splitlines()) == 2
    assert [line.split()[1] for line in tekton("events", "-n", "2").stdout.splitlines()] == ["engram", "hermes"]


def test_events_since_a_time_leave_out_what_is_older(
    tekton: Any, past: Any, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen:
        def time(self) -> float:
            return double.AT + 5.0

    monkeypatch.setattr("tekton.cli.events.SYSTEM_CLOCK", Frozen())

    assert len(tekton("events", "--since", "2s").stdout.splitlines()) == 2


def test_events_for_machines_have_fields_not_columns(tekton: Any, past: Any) -> None:
    lines = [json.loads(line) for line in tekton("events", "-o", "jsonl").stdout.splitlines()]

    assert [line["revision"] for line in lines] == [1, 2, 3, 4]
    assert tuple(lines[0]) == FIELDS
    assert json.loads(tekton("events", "--json").stdout) == {"events": lines}


def test_following_tells_what_comes_and_nothing_twice(tekton: Any, past: Any, double: Any, impatient: None) -> None:
    def restart() -> None:
        past.publish(double.change(5, "hermes", "failed", "initializing"))
        past.drop_streams()

    def stop() -> None:
        past.publish(double.change(6, "hermes", "initializing", "starting"))
        past.leave()

    past.publish(double.change(3, "engram", "starting", "ready"), double.change(4, "hermes", "ready", "failed"))
    past.on_stream = [restart, stop]

    result = tekton("events", "-f", "-n", "100", "-o", "jsonl")

    assert [json.loads(line)["revision"] for line in result.stdout.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert result.exit_code == 3


def test_following_alone_begins_now(tekton: Any, past: Any, double: Any, impatient: None) -> None:
    past.publish(double.change(4, "hermes", "ready", "failed"))
    past.on_stream = [lambda: (past.publish(double.change(5, "hermes", "failed", "starting")), past.leave())]

    assert [line.split()[1:] for line in tekton("events", "-f").stdout.splitlines()] == [
        ["hermes", "failed", "→", "starting"]
    ]


def test_following_some_components_leaves_out_the_others(tekton: Any, past: Any, double: Any, impatient: None) -> None:
    changes = (double.change(5, "engram", "ready", "degraded"), double.change(6, "hermes", "failed", "starting"))
    past.on_stream = [lambda: (past.publish(*changes), past.leave())]

    assert [line.split()[1] for line in tekton("events", "-f", "hermes").stdout.splitlines()] == ["hermes"]


def test_a_stream_cannot_be_one_json_document(tekton: Any, past: Any) -> None:
    result = tekton("events", "-f", "--json")

    assert result.exit_code == 2
    assert "use -o jsonl" in result.stderr


def test_events_of_a_mistyped_name_say_what_was_probably_meant(tekton: Any, past: Any) -> None:
    result = tekton("events", "engrm")

    assert result.exit_code == 5
    assert "did you mean 'engram'?" in result.stderr


def test_behind_a_failure_stands_the_restart_that_is_planned(tekton: Any, past: Any, double: Any) -> None:
    plan = {"attempt": 2, "max": 5, "next_in": 1.5, "gave_up": False}
    past.whys["hermes"] = double.why("hermes", "failed", restart=plan)

    lines = tekton("events", "hermes").stdout.splitlines()

    assert lines[-2].split()[1:5] == ["hermes", "ready", "→", "failed"]
    assert lines[-1].split()[1:] == ["hermes", "restart", "planned", "2", "of", "5", "in", "1.50", "s"]


def test_behind_a_failure_stands_that_it_was_given_up(tekton: Any, past: Any, double: Any) -> None:
    past.whys["hermes"] = double.why(
        "hermes", "failed", restart={"attempt": 5, "max": 5, "next_in": None, "gave_up": True}
    )

    (line,) = tekton("events", "--kind", "gave_up", "-o", "jsonl").stdout.splitlines()

    assert json.loads(line) == {
        "revision": 4,
        "at": double.AT + 4,
        "kind": "gave_up",
        "component_id": "hermes",
        "instance_uuid": past.histories["hermes"][0]["instance_uuid"],
        "previous": None,
        "state": "failed",
        "reason": "after 5 of 5 restarts",
    }


def test_as_many_are_shown_as_were_asked_for_of_the_kind_that_was_asked_for(tekton: Any, past: Any) -> None:
    registered = tekton("events", "--kind", "registered", "-n", "1", "-o", "jsonl").stdout.splitlines()
    changed = tekton("events", "--kind", "state", "-n", "2", "-o", "jsonl").stdout.splitlines()

    assert [json.loads(line)["revision"] for line in registered] == [1]
    assert [json.loads(line)["revision"] for line in changed] == [3, 4]


def test_a_followed_failure_is_told_with_its_restart(background: Any, past: Any, double: Any) -> None:
    plan = {"attempt": 1, "max": 5, "next_in": 1.0, "gave_up": False}
    past.whys["hermes"] = double.why("hermes", "failed", restart=plan)
    past.publish_after_snapshot(double.change(5, "hermes", "ready", "failed"))
    run = background("events", "-w", "-o", "jsonl")

    assert [json.loads(run.line())["kind"] for _ in range(2)] == ["state", "restart_planned"]


def test_a_change_of_traffic_is_told_in_words(double: Any) -> None:
    off = double.change(5, "hermes", "ready", "ready", kind="serving", reason="status 503", after={"serving": False})
    on = double.change(6, "hermes", "ready", "ready", kind="serving", reason="ready again")

    assert line(off).endswith("hermes        takes no traffic  status 503")
    assert line(on).endswith("hermes        takes traffic  ready again")
    assert line({name: off[name] for name in FIELDS}).endswith("hermes        traffic  status 503")


def test_only_events_of_a_kind_can_be_shown(tekton: Any, past: Any) -> None:
    assert tekton("events", "--kind", "deregistered").stdout == ""
    assert len(tekton("events", "--kind", "state", "--kind", "registered").stdout.splitlines()) == 4


def test_a_change_of_traffic_has_its_direction_for_machines(
    tekton: Any, past: Any, double: Any, impatient: None
) -> None:
    drained = double.change(5, "hermes", "ready", "ready", kind="serving", after={"serving": False})
    past.on_stream = [lambda: (past.publish(drained), past.leave())]

    (told,) = tekton("events", "-f", "-o", "jsonl").stdout.splitlines()

    assert json.loads(told)["serving"] is False


def test_of_a_component_with_replicas_the_unit_is_named(tekton: Any, past: Any, double: Any) -> None:
    uuids = [f"{number}{double.INSTANCE[1:]}1" for number in (1, 2, 3)]
    views = [{"instance_uuid": uuid, "replica": replica} for replica, uuid in enumerate(uuids[:2])]
    past.answers["GET /api/components/hermes/instances"] = (200, {"items": views})
    past.components = [double.view("hermes", replicas=3)]
    changes = [double.change(at, "hermes", "starting", "ready", instance_uuid=uuid) for at, uuid in enumerate(uuids)]
    past.histories["hermes"] = [{name: change[name] for name in FIELDS} for change in changes]

    told = tekton("events", "hermes").stdout.splitlines()

    assert [line.split("  ")[1].strip() for line in told] == ["hermes", "hermes.1", "hermes (30000000)"]


def test_the_unit_is_named_of_what_is_happening_too(plane: Any, double: Any, data_dir: Path) -> None:
    views = [{"instance_uuid": f"{double.INSTANCE}1", "replica": 1}]
    plane.answers["GET /api/components/hermes/instances"] = (200, {"items": views})
    units = UnitNames(connect(Target(data_dir)))

    alone, one_of_two = (
        double.change(5, "hermes", "starting", "ready", after={"max_instances": count}) for count in (1, 2)
    )

    assert (units.of(alone), units.of(one_of_two)) == ("hermes", "hermes.1")


def test_a_template_names_the_replica_too(tekton: Any, past: Any, double: Any) -> None:
    uuid = f"{double.INSTANCE}1"
    past.answers["GET /api/components/hermes/instances"] = (200, {"items": [{"instance_uuid": uuid, "replica": 1}]})
    past.components = [double.view("hermes", replicas=2)]
    change = double.change(3, "hermes", "starting", "ready")
    past.histories["hermes"] = [{name: change[name] for name in FIELDS}]

    told = tekton("events", "hermes", "-o", "template={name} ({component_id}): {state} {revision}").stdout

    assert told == "hermes.1 (hermes): ready 3\n"
    assert tekton("events", "-o", "template={when}").exit_code == 2
