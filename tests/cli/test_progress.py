"""How far a start has come."""

from typing import Any

import pytest

from tekton.cli.progress import Expected, Progress
from tekton.cli.watch import News

SINCE = 1_700_000_000.0  # double.AT: the records of the double are of this run


def snapshot(*records: Any) -> News:
    return News("snapshot", 1, list(records), None)


def change(double: Any, name: str, previous: str, state: str, **fields: Any) -> News:
    return News("change", 2, [], double.change(2, name, previous, state, **fields))


@pytest.fixture
def chain() -> Progress:
    """greeter needs rhetor, which needs hermes; engram needs nothing."""
    expected = [
        Expected("hermes", (), 8001),
        Expected("rhetor", ("hermes",)),
        Expected("greeter", ("rhetor",)),
        Expected("engram"),
    ]
    return Progress(expected, SINCE)


def test_a_start_has_not_settled_before_anything_was_heard(chain: Progress) -> None:
    assert not chain.settled
    assert chain.ready == chain.failed == chain.blocked == []


def test_a_start_without_components_has_settled() -> None:
    assert Progress([], SINCE).settled


def test_a_start_has_settled_when_everything_can_be_used(chain: Progress, double: Any) -> None:
    chain.apply(snapshot(*[double.record(name) for name in ("hermes", "engram", "greeter")]))
    assert not chain.settled

    chain.apply(change(double, "rhetor", "starting", "degraded"))
    assert chain.settled
    assert len(chain.ready) == 4


def test_a_failure_settles_what_needs_it_and_nothing_else(chain: Progress, double: Any) -> None:
    chain.apply(snapshot(double.record("hermes", "failed"), double.record("engram", "starting")))
    assert not chain.settled
    assert [row.name for row in chain.failed] == ["hermes"]
    assert [row.name for row in chain.blocked] == ["rhetor", "greeter"]

    chain.apply(change(double, "engram", "starting", "ready"))
    assert chain.settled


def test_a_failure_that_is_restarted_is_no_failure_any_more(chain: Progress, double: Any) -> None:
    chain.apply(snapshot(double.record("hermes", "failed"), double.record("engram")))
    chain.apply(change(double, "hermes", "failed", "initializing"))

    assert chain.failed == chain.blocked == []
    assert not chain.settled


def test_how_an_earlier_run_ended_does_not_count(chain: Progress, double: Any) -> None:
    old = {"registered_at": SINCE - 100.0}
    chain.apply(snapshot(*[double.record(name, "stopped", **old) for name in chain.rows]))
    assert not chain.settled
    chain.apply(change(double, "hermes", "ready", "failed", reason="lost", after=old))
    assert not chain.settled
    assert chain.failed == []


def test_an_instance_of_an_earlier_run_counts_once_it_was_seen_on_its_way(chain: Progress, double: Any) -> None:
    old = {"registered_at": SINCE - 100.0}
    chain.apply(snapshot(double.record("hermes", "failed", **old)))
    chain.apply(change(double, "hermes", "failed", "initializing", after=old))
    chain.apply(change(double, "hermes", "starting", "failed", after=old))

    assert [row.name for row in chain.failed] == ["hermes"]


def test_a_component_that_still_runs_counts_whoever_started_it(chain: Progress, double: Any) -> None:
    chain.apply(snapshot(*[double.record(name, registered_at=SINCE - 100.0) for name in chain.rows]))

    assert chain.settled


def test_components_that_wait_for_each_other_cannot_come(double: Any) -> None:
    progress = Progress([Expected("a", ("b",)), Expected("b", ("a",)), Expected("c", ("a",))], SINCE)
    progress.apply(snapshot())

    assert progress.settled
    assert [row.name for row in progress.blocked] == ["a", "b", "c"]


@pytest.mark.parametrize(("state", "comes"), [("starting", True), ("ready", True), ("failed", False), (None, False)])
def test_a_component_may_need_one_that_registers_itself(double: Any, state: str | None, comes: bool) -> None:
    progress = Progress([Expected("mine", ("theirs",))], SINCE)
    progress.apply(snapshot(*([double.record("theirs", state)] if state else [])))

    assert bool(progress.blocked) is not comes


def test_a_completed_one_shot_has_ended_and_lets_others_come(double: Any) -> None:
    progress = Progress([Expected("migrate"), Expected("app", ("migrate",))], SINCE)
    progress.apply(snapshot(double.record("migrate", "stopped", reason="completed")))
    assert not progress.settled

    progress.apply(change(double, "app", "starting", "ready"))
    assert progress.settled


def test_a_component_that_is_being_restarted_has_not_ended(double: Any) -> None:
    progress = Progress([Expected("hermes")], SINCE)
    progress.apply(snapshot(double.record("hermes", "stopped", reason="restarting")))

    assert not progress.settled


def test_the_time_that_it_took_is_from_registration_to_the_last_change(chain: Progress, double: Any) -> None:
    chain.apply(snapshot(double.record("hermes", registered_at=SINCE + 1.0, changed_at=SINCE + 1.25)))

    assert chain.rows["hermes"].took == 0.25


def test_what_a_component_waits_for_gets_less(chain: Progress, double: Any) -> None:
    rhetor = chain.rows["rhetor"]
    assert chain.waits_for(rhetor) == ["hermes"]

    chain.apply(snapshot(double.record("hermes")))
    assert chain.waits_for(rhetor) == []
