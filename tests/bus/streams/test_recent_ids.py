"""The ids that came last: what is not known here is said not to be."""

import pytest

from tekton.bus.streams import recent_ids
from tekton.bus.streams.recent_ids import RecentIds


def test_an_id_is_known_as_long_as_its_window_is_open() -> None:
    ids = RecentIds()
    ids.add("a", 1, at=100)

    assert ids.find("a", horizon=99) == 1
    assert ids.find("a", horizon=100) is None
    assert ids.find("b", horizon=0) is None
    assert ids.knows_all(horizon=-1_000_000)


def test_what_had_to_be_forgotten_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_ids, "MOST", 4)
    ids = RecentIds()
    for number in range(1, 6):
        ids.add(str(number), number, at=10 * number)

    assert [ids.find(str(number), horizon=0) for number in range(1, 6)] == [None, None, 3, 4, 5]
    assert not ids.knows_all(horizon=19)
    assert ids.knows_all(horizon=20)


def test_what_came_before_the_start_is_unknown() -> None:
    ids = RecentIds(unknown=50)

    assert not ids.knows_all(horizon=49)
    assert ids.knows_all(horizon=50)
