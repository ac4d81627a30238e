"""The judge of watches is judged: right ones pass, and of each kind of mistake, none.

`TEKTON_HISTORIES` is how many of each are tried (default 60).
"""

import os
from collections.abc import Callable
from random import Random

import pytest

from tekton.testing.watches import Acknowledged, Key, Seen, Watch, check

HISTORIES = int(os.environ.get("TEKTON_HISTORIES", "60"))
STATES = ("registering", "ready", "degraded", "failed")
KEYS: list[Key] = [("a", "1"), ("a", "2"), ("b", "1")]


def true_log(rng: Random, changes: int = 60) -> list[Seen]:
    states: dict[Key, str | None] = dict.fromkeys(KEYS)
    revision, log = 0, []
    for _ in range(changes):
        revision += rng.choice((1, 1, 5))
        key = rng.choice(KEYS)
        previous = states[key]
        states[key] = rng.choice([state for state in (*STATES, None) if state != previous])
        log.append(Seen(revision, key, previous, states[key]))
    return log


def true_watch(name: str, log: list[Seen], rng: Random) -> Watch:
    """Somebody who begins at any place, comes back as often as needed, and sometimes to a snapshot."""
    watch = Watch(name)
    place = rng.randrange(len(log) // 2)
    snapshot(watch, log, place)
    for seen in log[place:]:
        if rng.random() < 0.1:
            watch.resume(watch.position or 0)
        elif rng.random() < 0.05:
            snapshot(watch, log, log.index(seen))
        watch.change(seen)
    return watch


def snapshot(watch: Watch, log: list[Seen], place: int) -> None:
    states = {seen.key: seen.state for seen in log[:place]}
    revision = log[place - 1].revision if place else 0
    watch.snapshot(revision, {key: state for key, state in states.items() if state is not None})


def world(seed: int) -> tuple[Random, list[Seen], list[Watch], list[Acknowledged]]:
    rng = Random(seed)
    log = true_log(rng)
    acknowledged = [Acknowledged(seen.revision, seen.key, seen.state) for seen in log if rng.random() < 0.5]
    return rng, log, [true_watch(f"w{number}", log, rng) for number in range(3)], acknowledged


def test_watches_of_a_true_feed_are_right() -> None:
    for seed in range(HISTORIES):
        _, _, watches, acknowledged = world(seed)

        assert check(watches, acknowledged) == []


Changes = list[Seen]


def missing(changes: Changes, rng: Random) -> None:
    del changes[rng.randrange(1, len(changes) - 1)]


def duplicated(changes: Changes, rng: Random) -> None:
    place = rng.randrange(len(changes))
    changes.insert(place, changes[place])


def reordered(changes: Changes, rng: Random) -> None:
    place = rng.randrange(len(changes) - 1)
    changes[place], changes[place + 1] = changes[place + 1], changes[place]


def different(changes: Changes, rng: Random) -> None:
    place = rng.randrange(len(changes))
    changes[place] = changes[place]._replace(state="stopping")


def invented(changes: Changes, rng: Random) -> None:
    place = rng.randrange(1, len(changes))
    before = changes[place - 1]
    changes.insert(place, before._replace(revision=before.revision, key=("ghost", "1")))


@pytest.mark.parametrize("mistake", [missing, duplicated, reordered, different, invented], ids=lambda one: one.__name__)
def test_a_watch_with_a_mistake_is_rejected(mistake: Callable[[Changes, Random], None]) -> None:
    made = 0
    for seed in range(HISTORIES):
        rng, _, watches, acknowledged = world(seed)
        stretches = [stretch for stretch in watches[0].stretches if len(stretch.changes) > 2]
        if stretches:
            made += 1
            mistake(rng.choice(stretches).changes, rng)
            assert check(watches, acknowledged), f"seed {seed}"
    assert made >= 10


def test_a_change_that_nobody_saw_is_missed_by_the_chain_of_states() -> None:
    watch = Watch("w")
    watch.snapshot(0, {})
    watch.change(Seen(1, ("a", "1"), None, "registering"))
    watch.change(Seen(3, ("a", "1"), "starting", "ready"))

    (mistake,) = check([watch])

    assert "does not follow from registering" in mistake


def test_an_acknowledged_write_that_no_watcher_saw_is_missed() -> None:
    watch = Watch("w")
    watch.begin(0)
    watch.change(Seen(1, ("a", "1"), None, "registering"))
    watch.change(Seen(5, ("b", "1"), None, "registering"))

    mistakes = check([watch], [Acknowledged(3, ("c", "1"), "registering")])

    assert mistakes == ["w: revision 3 is missing between 0 and 5"]


def test_what_came_after_the_last_change_seen_is_not_asked_for() -> None:
    watch = Watch("w")
    watch.begin(0)
    watch.change(Seen(1, ("a", "1"), None, "registering"))

    assert check([watch], [Acknowledged(3, ("c", "1"), "registering")]) == []


def test_coming_back_to_another_place_is_a_mistake() -> None:
    watch = Watch("w")
    watch.snapshot(4, {})
    watch.resume(5)

    assert check([watch]) == ["w: resumed at 5, not at 4"]


def test_a_snapshot_must_be_what_the_changes_have_made() -> None:
    watch = Watch("w")
    watch.snapshot(0, {("a", "1"): "ready"})
    watch.change(Seen(1, ("a", "1"), "ready", "failed"))
    watch.snapshot(1, {("a", "1"): "ready"})

    (mistake,) = check([watch])

    assert "the snapshot at 1 differs" in mistake


def test_a_reset_after_a_restart_begins_anew() -> None:
    watch = Watch("w")
    watch.snapshot(0, {("a", "1"): "ready"})
    watch.change(Seen(1, ("a", "1"), "ready", "failed"))
    watch.snapshot(1000, {("a", "1"): "ready"})

    assert check([watch]) == []


def test_an_instance_that_registers_again_after_its_end_begins_anew() -> None:
    watch = Watch("w")
    watch.snapshot(0, {("a", "1"): "failed"})
    watch.change(Seen(1, ("a", "1"), None, "registering"))

    assert check([watch]) == []


def test_changes_are_read_from_json() -> None:
    change = {"revision": 7, "kind": "deregistered", "component_id": "a", "instance_uuid": "1", "previous": "failed"}

    assert Seen.of_json({**change, "state": "failed"}) == Seen(7, ("a", "1"), "failed", None)
    assert Seen.of_json({**change, "kind": "registered", "previous": "unknown", "state": "registering"}) == Seen(
        7, ("a", "1"), None, "registering"
    )
