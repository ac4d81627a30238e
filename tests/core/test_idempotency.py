"""The keys of requests: what is remembered, for how long, and how many of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.idempotency import (
    LIFETIME,
    MAX_ANSWER_BYTES,
    Answer,
    Claim,
    IdempotencyKeys,
    carrying,
    current_claim,
)
from tekton.core.lifecycle import ComponentRegistration
from tekton.testing import ManualClock
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    OutcomeUnknownError,
    RequestRunningError,
    StorageUnknownError,
    TooManyIdempotencyKeysError,
)

UUID = "00000000-0000-4000-8000-000000000001"
RHETOR = ComponentRegistration(component_id="rhetor", instance_uuid=UUID)
DONE = Answer(200, "application/json", [], "{}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def disk() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def registry(disk: MemoryStore, clock: ManualClock) -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry(store=disk, clock=clock) as registry:
        yield registry


@pytest.fixture
def keys(registry: ComponentRegistry) -> IdempotencyKeys:
    return registry.idempotency_keys


async def claim(keys: IdempotencyKeys, key: str = "k", subject: str = "ann", request: bytes = b"r") -> Claim:
    found = await keys.begin(subject, key, request)
    assert isinstance(found, Claim)
    return found


async def test_the_row_is_written_with_the_change(
    registry: ComponentRegistry, keys: IdempotencyKeys, disk: MemoryStore
) -> None:
    begun = await claim(keys)
    begun.build = lambda steps: Answer(201, "application/json", [], steps[0].record.component_id)
    commits: list[tuple[int, int]] = []
    commit = disk.commit
    disk.commit = lambda batch, papers: commits.append((len(batch), len(papers.keys))) or commit(batch, papers)  # type: ignore[assignment, func-returns-value]

    with carrying(begun):
        await registry.register(RHETOR)
    answer = await begun.conclude(DONE)

    assert commits == [(1, 1)]
    assert (answer.status, answer.body) == (201, "rhetor")
    assert await keys.begin("ann", "k", b"r") == answer


async def test_only_the_first_thing_that_a_request_does_carries_its_row(
    registry: ComponentRegistry, keys: IdempotencyKeys
) -> None:
    begun = await claim(keys)

    with carrying(begun):
        assert current_claim() is begun
        await registry.register(RHETOR)
        await registry.make_ready("rhetor", UUID)

    assert begun.take() is None
    assert await begun.conclude(DONE) == DONE


async def test_what_a_request_sets_off_does_not_carry_its_row(keys: IdempotencyKeys) -> None:
    begun = await claim(keys)

    async def other() -> Claim | None:
        return current_claim()

    with carrying(begun):
        assert await asyncio.create_task(other()) is None
    assert current_claim() is None


async def test_without_a_claim_nothing_is_carried(keys: IdempotencyKeys) -> None:
    with carrying(await claim(keys)), carrying(None):
        assert current_claim() is None


async def test_keys_outlive_the_control_plane(disk: MemoryStore, clock: ManualClock) -> None:
    async with ComponentRegistry(store=disk, clock=clock) as first:
        done = await claim(first.idempotency_keys, "done")
        with carrying(done):
            await first.audit.record("kill")
        await done.conclude(DONE)
        begun = await claim(first.idempotency_keys, "begun")
        with carrying(begun):
            await first.audit.record("kill")
        await claim(first.idempotency_keys, "nothing")
    clock.advance(5)

    async with ComponentRegistry(store=disk, clock=clock) as second:
        keys = second.idempotency_keys
        assert len(keys) == 2
        assert await keys.begin("ann", "done", b"r") == DONE
        with pytest.raises(OutcomeUnknownError) as unknown:
            await keys.begin("ann", "begun", b"r")
        assert unknown.value.begun_at == clock.time() - 5
        assert isinstance(await keys.begin("ann", "nothing", b"r"), Claim)


async def test_a_key_is_running_until_it_is_concluded(keys: IdempotencyKeys) -> None:
    begun = await claim(keys)

    with pytest.raises(RequestRunningError):
        await keys.begin("ann", "k", b"r")
    with pytest.raises(IdempotencyKeyReusedError):
        await keys.begin("ann", "k", b"other")
    await begun.conclude(DONE)

    assert await keys.begin("ann", "k", b"r") == DONE


async def test_subjects_and_keys_are_told_apart_whatever_is_in_them(keys: IdempotencyKeys) -> None:
    await claim(keys, key="b", subject="a")
    await claim(keys, key="", subject="ab")
    await claim(keys, key="ab", subject="")

    assert len(keys) == 3


async def test_what_did_nothing_and_is_abandoned_comes_again_as_new(keys: IdempotencyKeys) -> None:
    (await claim(keys)).abandon()

    assert len(keys) == 0
    await claim(keys, request=b"other")


async def test_what_is_abandoned_on_its_way_to_the_disk_is_known_when_it_has_got_there(
    registry: ComponentRegistry, keys: IdempotencyKeys
) -> None:
    begun = await claim(keys)
    begun.build = lambda _: DONE

    async def register() -> None:
        with carrying(begun):
            await registry.register(RHETOR)

    task = asyncio.create_task(register())
    await asyncio.sleep(0)
    task.cancel()
    begun.abandon()
    with pytest.raises(RequestRunningError):
        await keys.begin("ann", "k", b"r")
    await registry.flush()

    assert await keys.begin("ann", "k", b"r") == DONE


async def test_an_answer_that_cannot_be_made_of_the_change_is_added_later(
    registry: ComponentRegistry, keys: IdempotencyKeys, caplog: pytest.LogCaptureFixture
) -> None:
    begun = await claim(keys)
    begun.build = lambda _: Answer(1 // 0, "", [], "")

    with carrying(begun):
        await registry.register(RHETOR)

    assert await begun.conclude(DONE) == DONE
    assert await keys.begin("ann", "k", b"r") == DONE
    assert "could not be made" in caplog.text


async def test_what_the_store_does_not_know_is_unknown(disk: MemoryStore, clock: ManualClock) -> None:
    store = FaultyStore(disk)
    registry = ComponentRegistry(store=store, clock=clock)
    begun = await claim(registry.idempotency_keys)
    store.fail_next = "lost"

    with carrying(begun), pytest.raises(StorageUnknownError):
        await registry.register(RHETOR)
    assert begun.touched
    await begun.conclude(DONE)

    with pytest.raises(OutcomeUnknownError):
        await registry.idempotency_keys.begin("ann", "k", b"r")
    await registry.close()


async def test_a_secret_answer_is_not_kept(registry: ComponentRegistry, keys: IdempotencyKeys) -> None:
    begun = await claim(keys)
    begun.secret = True

    assert await begun.conclude(DONE) == DONE
    with pytest.raises(AnswerNotKeptError) as error:
        await keys.begin("ann", "k", b"r")
    assert error.value.answered == 200


async def test_answers_are_kept_until_there_are_too_many_bytes_of_them(registry: ComponentRegistry) -> None:
    keys = IdempotencyKeys([], registry.idempotency_keys.writer, lambda: 1.0, max_kept_bytes=250)
    for key in "abc":
        await (await claim(keys, key)).conclude(Answer(200, "x", [], "x" * 100))

    assert [(await keys.begin("ann", key, b"r")).__class__ for key in "ab"] == [Answer] * 2
    with pytest.raises(AnswerNotKeptError):
        await keys.begin("ann", "c", b"r")


@pytest.mark.parametrize("letter", ["x", "ü"])
async def test_large_answers_are_given_and_not_kept(keys: IdempotencyKeys, letter: str) -> None:
    large = Answer(200, "x", [], letter * MAX_ANSWER_BYTES)

    assert await (await claim(keys)).conclude(large) == large
    with pytest.raises(AnswerNotKeptError):
        await keys.begin("ann", "k", b"r")


async def test_no_more_keys_are_taken_than_there_is_room_for_and_none_is_forgotten_early(
    registry: ComponentRegistry, clock: ManualClock
) -> None:
    keys = IdempotencyKeys([], registry.idempotency_keys.writer, clock.time, max_keys=3)
    for key in "abc":
        await (await claim(keys, key)).conclude(DONE)
        clock.advance(1)

    with pytest.raises(TooManyIdempotencyKeysError):
        await claim(keys, "d")
    assert await keys.begin("ann", "a", b"r") == DONE
    clock.advance(LIFETIME - 3)

    await claim(keys, "d")
    with pytest.raises(TooManyIdempotencyKeysError):
        await claim(keys, "e")


async def test_no_subject_takes_the_keys_of_all(registry: ComponentRegistry) -> None:
    keys = IdempotencyKeys([], registry.idempotency_keys.writer, lambda: 1.0, max_keys_of_one=2)
    for key in "ab":
        await claim(keys, key, "greedy")

    with pytest.raises(TooManyIdempotencyKeysError):
        await claim(keys, "c", "greedy")
    await claim(keys, "c", "modest")


async def test_rows_whose_time_is_over_leave_the_disk_with_the_next_one(
    registry: ComponentRegistry, keys: IdempotencyKeys, disk: MemoryStore, clock: ManualClock
) -> None:
    for key in "abc":
        await (await claim(keys, key)).conclude(DONE)
    clock.advance(LIFETIME)

    await (await claim(keys, "a")).conclude(DONE)

    assert len(disk._keys) == len(keys) == 1
    assert await keys.begin("ann", "a", b"r") == DONE


async def test_rows_that_could_not_be_removed_are_removed_later(disk: MemoryStore, clock: ManualClock) -> None:
    store = FaultyStore(disk)
    async with ComponentRegistry(store=store, clock=clock) as registry:
        keys = registry.idempotency_keys
        for key in "ab":
            await (await claim(keys, key)).conclude(DONE)
        clock.advance(LIFETIME)
        store.full = True
        await (await claim(keys, "a")).conclude(DONE)
        store.full = False

        await (await claim(keys, "c")).conclude(DONE)

        assert len(disk._keys) == 1


async def test_a_request_that_runs_is_not_forgotten(keys: IdempotencyKeys, clock: ManualClock) -> None:
    await claim(keys)
    clock.advance(2 * LIFETIME)

    with pytest.raises(RequestRunningError):
        await keys.begin("ann", "k", b"r")


async def test_neither_key_nor_request_can_be_read_out_of_a_row(keys: IdempotencyKeys, disk: MemoryStore) -> None:
    await (await claim(keys, "my-key", request=b"password=hunter2")).conclude(DONE)

    (row,) = disk._keys.values()
    assert not any(word in str(row) for word in ("my-key", "hunter2"))
    assert row.subject == "ann"
