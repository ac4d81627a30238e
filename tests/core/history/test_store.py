"""What every store of telemetry promises. The suite runs over the store in memory and the one on disk."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.core.history.sqlite_store import SqliteTelemetryStore
from tekton.core.history.store import KINDS, MemoryTelemetryStore, Row, TelemetryStore
from tekton.testing.clock import ManualClock

BEGIN = 1_800_000_000.0
AGE = 3600.0
SIZE = 1 << 20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=BEGIN)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[TelemetryStore]:
    """An empty store that keeps an hour, and a mebibyte."""
    store: TelemetryStore = (
        MemoryTelemetryStore(size_bytes=SIZE, age=AGE, clock=clock)
        if request.param == "memory"
        else SqliteTelemetryStore(
            tmp_path / "telemetry.db", size_bytes=SIZE, age=AGE, clock=clock, gather=0, reserve_bytes=0
        )
    )
    yield store
    await store.close()


def row(at: float, key: str = "rhetor", body: bytes = b"{}", **more: object) -> Row:
    return Row(BEGIN + at, key, body)._replace(**more)


def bodies(rows: list[Row]) -> list[bytes]:
    return [one.body for one in rows]


async def test_what_was_appended_can_be_read_at_once(store: TelemetryStore) -> None:
    store.append("span", [row(1, body=b'{"n": 1}', trace="ab"), row(2, body='{"n": "größer"}'.encode())])

    found = await store.read("span")

    assert [(one.at, one.key, one.body, one.trace) for one in found] == [
        (BEGIN + 2, "rhetor", '{"n": "größer"}'.encode(), ""),
        (BEGIN + 1, "rhetor", b'{"n": 1}', "ab"),
    ]


async def test_kinds_are_apart(store: TelemetryStore) -> None:
    store.append("span", [row(1)])

    assert await store.read("state") == []
    assert await store.read("sample") == []


async def test_times_are_kept_to_the_microsecond(store: TelemetryStore) -> None:
    store.append("sample", [row(0.123456)])

    assert [one.at for one in await store.read("sample")] == [BEGIN + 0.123456]


async def test_a_range_has_its_beginning_and_not_its_end(store: TelemetryStore) -> None:
    store.append("span", [row(number, body=b"%d" % number) for number in range(6)])

    assert bodies(await store.read("span", BEGIN + 1, BEGIN + 4)) == [b"3", b"2", b"1"]


async def test_the_newest_are_read_unless_the_oldest_are_asked_for(store: TelemetryStore) -> None:
    store.append("span", [row(number, body=b"%d" % number) for number in range(6)])

    assert bodies(await store.read("span", limit=2)) == [b"5", b"4"]
    assert bodies(await store.read("span", limit=2, oldest_first=True)) == [b"0", b"1"]
    assert await store.read("span", limit=0) == []


async def test_rows_of_one_time_are_in_the_order_in_which_they_came(store: TelemetryStore) -> None:
    store.append("span", [row(1, body=b"%d" % number) for number in range(3)])
    store.append("span", [row(1, body=b"3")])

    assert bodies(await store.read("span", oldest_first=True)) == [b"0", b"1", b"2", b"3"]


async def test_rows_are_found_by_key_and_by_trace(store: TelemetryStore) -> None:
    store.append("span", [row(1, "a", b"1", trace="t"), row(2, "b", b"2", trace="t"), row(3, "a", b"3")])

    assert bodies(await store.read("span", key="a")) == [b"3", b"1"]
    assert bodies(await store.read("span", trace="t")) == [b"2", b"1"]
    assert bodies(await store.read("span", key="a", trace="t")) == [b"1"]
    assert await store.read("span", key="c") == []


async def test_the_latest_rows_are_those_of_that_time(store: TelemetryStore) -> None:
    store.append("state", [row(1, "a", b"1"), row(2, "b", b"2"), row(3, "a", b"3"), row(5, "b", b"5")])

    assert bodies(await store.latest("state", BEGIN + 4)) == [b"3", b"2"]
    assert bodies(await store.latest("state", BEGIN + 3)) == [b"3", b"2"]
    assert bodies(await store.latest("state", BEGIN + 4, BEGIN + 2.5)) == [b"3"]
    assert await store.latest("state", BEGIN) == []


async def test_what_ends_is_not_among_the_latest_until_it_is_back(store: TelemetryStore) -> None:
    store.append("state", [row(1, "a", b"1"), row(2, "a", ends=True), row(3, "a", b"3")])

    assert bodies(await store.latest("state", BEGIN + 1)) == [b"1"]
    assert bodies(await store.latest("state", BEGIN + 2)) == []
    assert bodies(await store.latest("state", BEGIN + 3)) == [b"3"]


async def test_after_the_clock_was_set_back_what_was_written_last_holds(store: TelemetryStore) -> None:
    store.append("state", [row(100, "a", b"before")])
    store.append("state", [row(50, "a", b"after")])

    assert bodies(await store.latest("state", BEGIN + 200)) == [b"after"]
    assert bodies(await store.read("state")) == [b"before", b"after"]


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
async def test_a_row_without_a_time_is_dropped(store: TelemetryStore, at: float) -> None:
    store.append("span", [Row(at, "a", b"1"), row(1, body=b"2")])

    assert bodies(await store.read("span")) == [b"2"]
    assert store.status().dropped["span"] == 1


async def test_a_new_store_knows_from_now_on(store: TelemetryStore) -> None:
    assert [await store.known_since(kind) for kind in KINDS] == [BEGIN] * 3


async def test_what_is_too_old_goes(store: TelemetryStore, clock: ManualClock) -> None:
    store.append("span", [row(0, body=b"old"), row(AGE, body=b"new")])
    await store.tidy()
    clock.advance(AGE + 1)

    await store.tidy()

    assert bodies(await store.read("span")) == [b"new"]
    assert await store.known_since("span") == BEGIN + 1
    assert await store.known_since("sample") == BEGIN


async def test_the_last_state_of_a_key_is_kept_however_old_it_is(store: TelemetryStore, clock: ManualClock) -> None:
    store.append("state", [row(0, "a", b"1"), row(1, "a", b"2"), row(2, "b", b"3"), row(3, "c", b"4")])
    store.append("state", [row(4, "c", ends=True), row(AGE, "a", b"5")])
    clock.advance(AGE + 100)

    await store.tidy()

    assert bodies(await store.read("state", oldest_first=True)) == [b"2", b"3", b"5"]
    assert bodies(await store.latest("state", BEGIN + 100)) == [b"2", b"3"]
    assert await store.known_since("state") == BEGIN + 100


async def test_the_oldest_make_room_for_new_ones(store: TelemetryStore, clock: ManualClock) -> None:
    text = b'"%s"' % (b"x" * 1000)
    for number in range(40):
        clock.advance(1)
        store.append("span", [row(number + 1, f"{number}", text)] * 100)
        await store.read("span", limit=1)

    kept = await store.read("span", limit=100_000)

    assert kept[0].key == "39"
    assert 100 < len(kept) < SIZE // 1000
    assert BEGIN < await store.known_since("span") <= kept[-1].at + 1
    assert store.status().size_bytes <= SIZE
    assert store.status().dropped["span"] == 0


async def test_a_flood_of_one_kind_leaves_the_others_their_share(store: TelemetryStore) -> None:
    store.append("state", [row(1, f"{number}", b'"a state"') for number in range(300)])
    store.append("sample", [row(1, f"{number}", b'"a sample"') for number in range(300)])
    text = b'"%s"' % (b"x" * 1000)
    for number in range(30):
        store.append("span", [row(number + 1, f"{number}", text)] * 100)
        await store.read("span", limit=1)

    assert len(await store.latest("state", BEGIN + 1)) == 300
    assert len(await store.latest("sample", BEGIN + 1)) == 300


async def test_of_a_flood_of_states_the_last_of_each_key_stay(store: TelemetryStore, clock: ManualClock) -> None:
    store.append("state", [row(0, f"quiet-{number}", b'"ready"') for number in range(100)])
    for number in range(25):
        clock.advance(1)
        store.append("state", [row(number + 1, "busy", b'"%0200d"' % (200 * number + step)) for step in range(200)])
        await store.read("state", limit=1)

    latest = await store.latest("state", BEGIN + 200)

    assert len(latest) == 101
    assert latest[0].body == b'"%0200d"' % 4999
    assert len(await store.read("state", limit=100_000)) < 4_500
    assert store.status().size_bytes <= SIZE
    assert BEGIN < await store.known_since("state") <= clock.time()


async def test_of_states_that_cannot_all_be_kept_the_oldest_go(store: TelemetryStore) -> None:
    for batch in range(25):
        store.append("state", [row(1, f"{batch}-{number}", b'"%0200d"' % 0) for number in range(200)])
        await store.read("state", limit=1)

    keys = {one.key for one in await store.latest("state", BEGIN + 200)}

    assert {f"24-{number}" for number in range(200)} <= keys
    assert "0-0" not in keys
    assert store.status().size_bytes <= SIZE


async def test_what_comes_after_the_end_is_dropped(store: TelemetryStore) -> None:
    await store.close()
    await store.close()

    store.append("span", [row(1)])

    assert store.status().dropped["span"] == 1
