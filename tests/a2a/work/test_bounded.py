"""A dict of so many bytes."""

from tekton.a2a.work.bounded import Bounded


def test_what_came_first_goes_first_when_there_is_no_room() -> None:
    kept: Bounded[str, int] = Bounded(10)
    for number, key in enumerate("abc"):
        kept.put(key, number, 4)

    assert [kept.get(key) for key in "abc"] == [None, 1, 2]
    assert len(kept) == 2


def test_what_is_put_again_or_taken_gives_its_room_back() -> None:
    kept: Bounded[str, int] = Bounded(10)
    kept.put("a", 1, 8)
    kept.put("a", 2, 4)
    kept.put("b", 3, 6)
    assert (kept.get("a"), kept.take("b"), kept.take("b")) == (2, 3, None)

    kept.put("c", 4, 6)

    assert (kept.get("a"), kept.get("c")) == (2, 4)


def test_what_is_too_large_is_not_kept() -> None:
    kept: Bounded[str, int] = Bounded(10)
    kept.put("a", 1, 5)
    kept.put("b", 2, 11)

    assert (kept.get("a"), kept.get("b"), len(kept)) == (1, None, 1)
