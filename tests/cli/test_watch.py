"""Following the registry."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tekton.cli import client
from tekton.cli.options import Target
from tekton.cli.watch import Board, News, reconnecting, watch
from tekton.utils.tekton_errors import ProblemError, TektonError, TransportError


class StoppedClock:
    """A clock that moves when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    clock = StoppedClock()

    def pause(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("tekton.cli.watch.pause", pause)
    return clock


def unreachable() -> TektonError:
    return TransportError("socket", "connection refused")


class Script:
    """What the connections bring, one after another: items, then an error, if there is one."""

    def __init__(self, *connections: tuple[list[int], TektonError | None]) -> None:
        self._connections = iter(connections)

    def __call__(self) -> Iterator[int]:
        items, error = next(self._connections)
        yield from items
        if error is not None:
            raise error


def test_a_connection_that_ends_is_made_again(clock: StoppedClock) -> None:
    script = Script(([1, 2], None), ([3], unreachable()), ([4], None))

    assert list(islice(reconnecting(script, clock), 4)) == [1, 2, 3, 4]


def test_the_first_connection_has_to_succeed(clock: StoppedClock) -> None:
    with pytest.raises(TransportError):
        list(reconnecting(Script(([], unreachable())), clock))


def test_a_control_plane_that_stays_away_is_given_up(clock: StoppedClock) -> None:
    script = Script(([1], None), *[([], unreachable())] * 1000)

    with pytest.raises(TransportError):
        list(reconnecting(script, clock))
    assert 104.9 < clock.now < 105.3


def test_patience_counts_from_the_end_of_the_connection(clock: StoppedClock) -> None:
    """A stream may be silent for hours before its server restarts."""

    def silent() -> Iterator[int]:
        yield 1
        clock.now += 10_000.0

    later = Script(([], unreachable()), ([2], None))
    connections = iter([silent, later, later])

    def connect() -> Iterator[int]:
        return next(connections)()

    assert list(islice(reconnecting(connect, clock), 2)) == [1, 2]


def test_a_control_plane_that_is_about_to_stop_may_come_back(clock: StoppedClock) -> None:
    script = Script(([1], None), ([], ProblemError(503, "unavailable", "stopping")), ([2], None))

    assert list(islice(reconnecting(script, clock), 2)) == [1, 2]


def test_a_refusal_ends_the_watch(clock: StoppedClock) -> None:
    script = Script(([1], None), ([], ProblemError(403, "forbidden", "no")))

    with pytest.raises(ProblemError):
        list(reconnecting(script, clock))


def test_a_watch_goes_on_from_where_it_was(plane: Any, double: Any, data_dir: Path) -> None:
    plane.components = [double.view("hermes", "starting")]

    def restart() -> None:
        plane.publish(double.change(2, "hermes", "starting", "ready"))
        plane.drop_streams()

    plane.on_stream = [restart]
    plane.publish_after_snapshot(double.change(3, "hermes", "ready", "degraded"))

    pieces = list(islice(watch(client.connect(Target(data_dir))), 4))

    assert [(piece.kind, piece.revision) for piece in pieces] == [
        ("snapshot", 0),
        ("change", 2),
        ("bye", 2),
        ("change", 3),
    ]


def snapshot(*records: Any) -> News:
    return News("snapshot", 1, list(records), None)


def test_a_board_prefers_usable_instances_then_ready_then_new_ones(double: Any) -> None:
    def instance(number: int, state: str) -> Any:
        return double.record("hermes", state, instance_uuid=f"{double.INSTANCE}{number}", generation=number)

    def best(*records: Any) -> int:
        board = Board()
        board.apply(snapshot(*records))
        found = board.find("hermes")
        assert found is not None
        return int(found["generation"])

    assert best(instance(1, "degraded"), instance(2, "failed")) == 1
    assert best(instance(1, "ready"), instance(2, "degraded")) == 1
    assert best(instance(1, "failed"), instance(2, "starting")) == 2


def test_a_board_forgets_what_was_deregistered(double: Any) -> None:
    board = Board()
    board.apply(snapshot(double.record("hermes"), double.record("engram")))
    board.apply(News("change", 2, [], double.change(2, "hermes", "ready", "ready", kind="deregistered")))

    assert board.find("hermes") is None
    assert board.find("engram") is not None


def test_a_snapshot_replaces_everything_that_a_board_knew(double: Any) -> None:
    board = Board()
    board.apply(snapshot(double.record("hermes")))
    board.apply(snapshot(double.record("engram")))

    assert board.find("hermes") is None
