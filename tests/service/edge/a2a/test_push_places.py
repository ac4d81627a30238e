"""Whose webhook is called next, where there are fewer places than webhooks."""

from tekton.service.edge.a2a.push_places import Lane, PushPlaces, Turn

PLACES = 32


def waiting(places: PushPlaces, owner: str, host: str, count: int = 1, *, failing: bool = False) -> None:
    """Have some wait, whose tasks are numbered."""
    for number in range(count):
        places.wait((f"{owner}-{number:02}", host), Lane(owner, host), failing=failing)


def taken(places: PushPlaces) -> list[Turn]:
    """All whose turn it is now."""
    return list(iter(places.take, None))


def owners(turns: list[Turn]) -> list[str]:
    return [turn.lane.owner for turn in turns]


def test_those_that_have_not_answered_yet_have_half_of_the_places_and_no_owner_more_than_a_quarter() -> None:
    places = PushPlaces(PLACES)
    for owner in ("ada", "bob", "cy"):
        for host in range(PLACES):
            waiting(places, owner, f"{owner}-{host}")

    turns = taken(places)

    assert len(turns) == PLACES // 2
    assert all(turn.on_trial for turn in turns)
    assert owners(turns)[:6] == ["ada", "bob", "cy"] * 2
    alone = PushPlaces(PLACES)
    for host in range(PLACES):
        waiting(alone, "ada", str(host))
    assert len(taken(alone)) == PLACES // 4


def test_no_host_has_more_than_a_quarter_and_no_owner_at_it_more_than_an_eighth() -> None:
    places = PushPlaces(PLACES)
    waiting(places, "ada", "slow", PLACES)
    waiting(places, "ada", "other")
    assert [turn.lane.host for turn in taken(places)] == ["slow", "other"] + ["slow"] * (PLACES // 8 - 1)

    crowd = PushPlaces(PLACES)
    for number in range(PLACES):
        waiting(crowd, f"owner-{number}", "slow")
    waiting(crowd, "ada", "other")
    assert owners(taken(crowd)) == [f"owner-{number}" for number in range(PLACES // 4)] + ["ada"]


def test_those_that_answer_have_places_of_their_own_and_leave_some() -> None:
    places = PushPlaces(PLACES)
    for number in range(2 * PLACES):
        places.note(Lane(f"good-{number}", "fine"), answers=True)
        places.note(Lane(f"good-{number}", f"fine-{number}"), answers=True)
        waiting(places, f"good-{number}", f"fine-{number}")
        waiting(places, f"new-{number}", f"new-{number}")

    turns = taken(places)

    assert [turn.on_trial for turn in turns] == [False] * (PLACES * 3 // 4) + [True] * (PLACES // 4)


def test_a_place_that_is_free_again_goes_to_the_next_in_turn() -> None:
    places = PushPlaces(PLACES)
    waiting(places, "ada", "one", PLACES)
    first, *_ = taken(places)
    waiting(places, "bob", "two")
    assert [turn.lane.owner for turn in taken(places)] == ["bob"]

    places.leave(first)

    (following,) = taken(places)
    assert (first.key, following.key) == (("ada-00", "one"), (f"ada-{PLACES // 8:02}", "one"))


def test_who_stops_answering_is_on_trial_with_all_that_waits_and_what_fails_is_wherever_it_is() -> None:
    places, lane = PushPlaces(PLACES), Lane("ada", "one")
    places.note(lane, answers=True)
    waiting(places, "ada", "one", 2 * PLACES)
    waiting(places, "ada", "one", failing=True)
    turns = taken(places)
    assert [turn.on_trial for turn in turns] == [False] * (PLACES // 4) + [True]

    places.note(lane, answers=False)
    for turn in turns:
        places.leave(turn)

    assert [turn.on_trial for turn in taken(places)] == [True] * (PLACES // 8)


def test_only_so_many_are_remembered_as_those_that_answer() -> None:
    places = PushPlaces(PLACES)
    for number in range(5000):
        places.note(Lane("ada", str(number)), answers=True)
    waiting(places, "ada", "0")
    waiting(places, "ada", "4999")

    assert [(turn.lane.host, turn.on_trial) for turn in taken(places)] == [("4999", False), ("0", True)]
