"""The registry: commands, fences, observations. What the disk does to them is in test_commit.py."""

import asyncio
import json
import random
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from registering import ready, record_changes, registered, registration

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import Loaded, MemoryStore, Mutation
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import (
    PATH_TO_READY,
    STATES,
    VALID_TRANSITIONS,
    ComponentRegistration,
    ComponentState,
)
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    CursorExpiredError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidRegistrationError,
    StaleInstanceError,
    StorageCorruptError,
    StorageError,
)

READY = ComponentState.READY
FAILED = ComponentState.FAILED


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


def state_of(registry: ComponentRegistry) -> ComponentState | None:
    record = registry.find("x")
    return None if record is None else record.state


def what_is_left(owner: object) -> dict[str, object]:
    """The containers of *owner* that hold something."""
    return {
        name: held
        for name, held in vars(owner).items()
        if isinstance(held, dict | set | deque | list) and any(one is not None and not callable(one) for one in held)
    }


# Registration


async def test_a_registration_is_recorded_as_registering(registry: ComponentRegistry) -> None:
    one = registration(component_name="X", capabilities=["c"], dependencies=["y"], metadata={"k": 1})

    record, created = await registry.register(one)

    assert created
    assert (record.state, record.generation, record.capabilities) == (ComponentState.REGISTERING, 1, ("c",))
    assert registry.find("x") is record
    assert registry.graph() == {"x": ["y"]}


async def test_registering_the_same_instance_again_is_no_change(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    changes = record_changes(registry)

    record, created = await registry.register(one)

    assert (created, record.state, changes) == (False, READY, [])


async def test_registering_again_with_other_contents_updates_in_one_change(registry: ComponentRegistry) -> None:
    one = await ready(registry, capabilities=["old"])
    changes = record_changes(registry)

    await registry.register(registration(instance_uuid=one.instance_uuid, capabilities=["new"], version="2"))

    assert [change.kind for change in changes] == ["updated"]
    assert registry.capabilities() == {"new": ["x"]}
    record = registry.find("x")
    assert record is not None
    assert (record.state, record.version) == (READY, "2")


async def test_a_second_live_instance_is_refused_with_the_owner(registry: ComponentRegistry) -> None:
    one = await registered(registry)

    with pytest.raises(ComponentExistsError) as refusal:
        await registry.register(registration())

    assert refusal.value.instance_uuid == one.instance_uuid
    result = await registry.register_component(registration())
    assert not result.success
    assert one.instance_uuid in result.message


async def test_max_instances_allows_more_and_is_enforced_by_both_sides(registry: ComponentRegistry) -> None:
    await registered(registry, max_instances=2)
    await registered(registry, max_instances=5)

    with pytest.raises(ComponentExistsError):
        await registry.register(registration(max_instances=5))
    assert len(registry.instances("x")) == 2


@pytest.mark.parametrize("state", [FAILED, ComponentState.STOPPED])
async def test_an_ended_instance_is_replaced_by_a_new_generation(
    registry: ComponentRegistry, state: ComponentState
) -> None:
    old = await ready(registry)
    if state is ComponentState.STOPPED:
        await registry.set_state("x", old.instance_uuid, ComponentState.STOPPING)
    await registry.set_state("x", old.instance_uuid, state)

    new = await registered(registry)

    record = registry.find("x")
    assert record is not None
    assert (record.instance_uuid, record.generation) == (new.instance_uuid, 2)
    assert [one.instance_uuid for one in registry.instances("x")] == [new.instance_uuid]


async def test_a_replaced_component_never_seems_absent(registry: ComponentRegistry) -> None:
    old = await ready(registry)
    await registry.set_state("x", old.instance_uuid, FAILED)
    seen: list[bool] = []
    registry.feed.add_listener(lambda _: seen.append(registry.find("x") is not None))

    await registered(registry)

    assert seen == [True, True]


async def test_the_failed_instance_itself_may_register_again(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe("x", one.instance_uuid, FAILED, "no heartbeat")

    record, created = await registry.register(one)

    assert (created, record.generation, record.state) == (True, 2, ComponentState.REGISTERING)


@pytest.mark.parametrize(
    ("component_id", "nearest"),
    [
        ("Hermes", "hermes"),
        ("../x", "x"),
        ("a b", "a-b"),
        ("-x-", "x"),
        ("é", None),
        ("", None),
        ("x" * 131, "x" * 128),
    ],
)
async def test_an_invalid_id_is_refused_with_the_nearest_valid_one(
    registry: ComponentRegistry, component_id: str, nearest: str | None
) -> None:
    with pytest.raises(InvalidIdError) as refusal:
        await registry.register(registration(component_id))

    assert refusal.value.nearest == nearest
    assert registry.components() == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"capabilities": ["fine", "Not Fine"]}, "/capabilities/1"),
        ({"dependencies": ["a", ""]}, "/dependencies/1"),
        ({"capabilities": [f"c{n}" for n in range(257)]}, "/capabilities"),
        ({"component_name": "line\nbreak"}, "/component_name"),
        ({"max_instances": 0}, "/max_instances"),
        ({"instance_uuid": "not-a-uuid"}, "/instance_uuid"),
        ({"metadata": {"big": "x" * 70_000}}, "/metadata"),
        ({"metadata": {"no": object()}}, "/metadata"),
        ({"metadata": nested(65)}, "/metadata"),
        ({"metadata": nested(50_000)}, "/metadata"),
        ({"metadata": {"no": "\ud800"}}, "/metadata"),
        ({"endpoint": "http://\ud800"}, "/endpoint"),
        ({"max_instances": 1.5}, "/max_instances"),
        ({"instance_uuid": "6BA7B810-9DAD-41D1-80B4-00C04FD430C8"}, "/instance_uuid"),
    ],
)
async def test_an_invalid_field_is_refused_by_its_pointer(
    registry: ComponentRegistry, fields: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidRegistrationError) as refusal:
        await registry.register(registration(**fields))

    assert refusal.value.field == pointer
    assert registry.components() == []


async def test_metadata_may_be_nested_64_levels_deep(registry: ComponentRegistry) -> None:
    await registered(registry, metadata={"wide": [{}] * 200, **nested(64)})

    assert registry.find("x") is not None


async def test_capabilities_may_have_dots(registry: ComponentRegistry) -> None:
    await ready(registry, capabilities=["text.generation"])

    assert [one.component_id for one in registry.by_capability("text.generation")] == ["x"]


async def test_a_name_that_is_given_twice_counts_once(registry: ComponentRegistry) -> None:
    one = await ready(registry, capabilities=["c", "c"], dependencies=["y", "y"])

    assert (registry.capabilities(), registry.graph()) == ({"c": ["x"]}, {"x": ["y"]})
    await registry.deregister("x", one.instance_uuid)
    assert registry.capabilities() == {}


async def test_what_the_caller_does_to_its_metadata_afterwards_does_not_matter(registry: ComponentRegistry) -> None:
    metadata = {"list": [1]}
    one = await ready(registry, metadata=metadata)
    metadata["list"].append(2)

    assert registry.find("x").metadata == {"list": [1]}  # type: ignore[union-attr]
    await registry.register(one)
    assert registry.find("x").metadata == {"list": [1, 2]}  # type: ignore[union-attr]


# Transitions


@pytest.mark.parametrize("target", STATES)
@pytest.mark.parametrize("current", STATES)
async def test_exactly_the_transitions_of_the_table_are_legal(current: ComponentState, target: ComponentState) -> None:
    store = MemoryStore()
    async with ComponentRegistry(store=store) as before:
        one = await registered(before)
        found = before.find("x")
        assert found is not None
        text = msgspec.json.encode(msgspec.structs.replace(found, state=current)).decode()
        store.commit([Mutation(before.revision + 1, 0.0, "state", "x", one.instance_uuid, "{}", text)])
    async with ComponentRegistry(store=store) as registry:
        if target in VALID_TRANSITIONS[current]:
            record = await registry.set_state("x", one.instance_uuid, target)
            assert record.state is target
            return
        with pytest.raises(IllegalTransitionError) as refusal:
            await registry.set_state("x", one.instance_uuid, target)
        assert set(refusal.value.legal) == {state.value for state in VALID_TRANSITIONS[current]}
        assert registry.table.state(registry.table.find("x", one.instance_uuid)) == current.index


async def test_an_illegal_transition_is_an_answer_not_an_exception_for_the_specified_call(
    registry: ComponentRegistry,
) -> None:
    one = await registered(registry)

    result = await registry.update_component_state("x", one.instance_uuid, "ready")

    assert not result.success
    assert "registering -> ready" in result.message


async def test_a_state_that_does_not_exist_is_a_programming_error(registry: ComponentRegistry) -> None:
    one = await registered(registry)

    with pytest.raises(ValueError, match="happy"):
        await registry.update_component_state("x", one.instance_uuid, "happy")


@pytest.mark.parametrize("start", list(PATH_TO_READY))
async def test_make_ready_records_every_step_of_the_legal_path(
    registry: ComponentRegistry, start: ComponentState
) -> None:
    one = await registered(registry)
    for state in (ComponentState.INITIALIZING, ComponentState.STARTING, READY, ComponentState.DEGRADED):
        record = registry.find("x")
        assert record is not None
        if record.state is start:
            break
        await registry.set_state("x", one.instance_uuid, state)
    changes = record_changes(registry)

    await registry.make_ready("x", one.instance_uuid)

    assert tuple(change.state for change in changes) == PATH_TO_READY[start]
    assert (await registry.get_component("x")).state is READY  # type: ignore[union-attr]


async def test_make_ready_never_resurrects(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe("x", one.instance_uuid, FAILED, "exit 1")

    result = await registry.mark_component_ready("x", one.instance_uuid)

    assert not result.success
    assert registry.find("x").state is FAILED  # type: ignore[union-attr]


async def test_a_stale_instance_cannot_write(registry: ComponentRegistry) -> None:
    old = await ready(registry)
    registry.observe("x", old.instance_uuid, FAILED, "exit 1")
    await ready(registry)
    before = registry.find("x")

    for command in (
        registry.set_state("x", old.instance_uuid, ComponentState.STOPPING),
        registry.make_ready("x", old.instance_uuid),
        registry.deregister("x", old.instance_uuid),
    ):
        with pytest.raises(StaleInstanceError):
            await command
    assert not registry.observe("x", old.instance_uuid, FAILED, "late news")
    assert registry.find("x") is before


async def test_an_unknown_component_is_named_with_the_nearest_known_one(registry: ComponentRegistry) -> None:
    await ready(registry, "hermes")

    with pytest.raises(ComponentNotFoundError) as refusal:
        await registry.set_state("hermez", str(uuid.uuid4()), READY)

    assert refusal.value.nearest == "hermes"


@pytest.mark.parametrize("target", [ComponentState.STOPPING, ComponentState.DEGRADED, FAILED])
async def test_of_a_thousand_concurrent_transitions_one_wins(
    registry: ComponentRegistry, target: ComponentState
) -> None:
    one = await ready(registry)
    changes = record_changes(registry)

    results = await asyncio.gather(
        *(registry.update_component_state("x", one.instance_uuid, target.value) for _ in range(1000))
    )

    assert [result.success for result in results].count(True) == 1
    assert [change.state for change in changes] == [target]


async def test_of_concurrent_registrations_of_one_id_one_wins(registry: ComponentRegistry) -> None:
    results = await asyncio.gather(*(registry.register_component(registration()) for _ in range(1000)))

    assert [result.success for result in results].count(True) == 1
    assert len(registry.instances("x")) == len(registry.table.slots("x")) == 1


async def test_the_winner_of_many_who_want_to_replace_a_failed_instance_is_one_generation_on(
    registry: ComponentRegistry,
) -> None:
    one = await ready(registry)
    registry.observe("x", one.instance_uuid, FAILED, "killed")

    results = await asyncio.gather(*(registry.register_component(registration()) for _ in range(100)))

    assert [result.success for result in results].count(True) == 1
    assert [record.generation for record in registry.instances("x")] == [2]


async def test_whatever_a_replaced_instance_does_has_no_effect(registry: ComponentRegistry) -> None:
    old = await ready(registry)
    registry.observe("x", old.instance_uuid, FAILED, "killed")
    new = await ready(registry, version="2")
    before, revision = registry.instances("x"), registry.revision
    assert registry.stale_commands == 0

    results = [
        await registry.update_component_state("x", old.instance_uuid, "stopping"),
        await registry.mark_component_ready("x", old.instance_uuid),
        await registry.deregister_component("x", old.instance_uuid),
        await registry.register_component(old),
    ]
    assert not registry.observe("x", old.instance_uuid, FAILED, "killed again")

    assert [result.success for result in results] == [False] * 4
    assert (registry.instances("x"), registry.revision) == (before, revision)
    assert before[0].instance_uuid == new.instance_uuid
    assert registry.stale_commands == 3


async def test_a_repeated_registration_is_seen_as_a_whole_or_not_at_all(registry: ComponentRegistry) -> None:
    faces = [
        {"version": "1", "capabilities": ("old", "both"), "dependencies": ("a",)},
        {"version": "2", "capabilities": ("both", "new"), "dependencies": ("b", "c")},
    ]
    one = await ready(registry, **faces[0])
    seen: set[str] = set()

    def look(_: object = None) -> None:
        record = registry.find("x")
        assert record is not None
        face = faces[int(record.version) - 1]
        assert (record.capabilities, record.dependencies) == (face["capabilities"], face["dependencies"])
        offered = {name for name in ("old", "both", "new") if registry.by_capability(name)}
        assert offered == set(registry.capabilities()) == set(record.capabilities)
        listed = {name for name in ("old", "both", "new") if registry.page(capability=name).items}
        assert listed == offered
        assert registry.graph()["x"] == list(record.dependencies)
        seen.add(record.version)

    async def keep_looking() -> None:
        while True:
            look()
            await asyncio.sleep(0)

    registry.feed.add_listener(look)
    changes = record_changes(registry)
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(keep_looking())
        for turn in range(1, 201):
            await registry.register(registration(instance_uuid=one.instance_uuid, **faces[turn % 2]))
        reader.cancel()

    assert seen == {"1", "2"}
    assert [change.kind for change in changes] == ["updated"] * 200


async def test_a_list_that_is_read_in_pages_under_writes_has_once_what_was_there_all_the_time(
    registry: ComponentRegistry,
) -> None:
    staying = [f"c{number:03}" for number in range(0, 300, 2)]
    await asyncio.gather(*(registered(registry, name) for name in staying))

    async def come_and_go(writer: int) -> None:
        rng = random.Random(writer)
        while True:
            one = await registered(registry, f"c{rng.randrange(1, 300, 2):03}-{writer}")
            await registry.deregister(one.component_id, one.instance_uuid)

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(come_and_go(number)) for number in range(8)]
        for _ in range(20):
            seen: list[str] = []
            revisions: list[int] = []
            cursor: str | None = None
            while True:
                page = await registry.list_components(limit=7, cursor=cursor)
                seen += [record.component_id for record in page.items]
                revisions.append(page.revision)
                cursor = page.cursor
                if cursor is None:
                    break
                await asyncio.sleep(0)
            assert seen == sorted(set(seen))
            assert [name for name in seen if "-" not in name] == staying
            assert revisions == sorted(revisions)
        for writer in writers:
            writer.cancel()


async def test_ten_thousand_components_that_have_come_and_gone_leave_nothing_behind(
    registry: ComponentRegistry,
) -> None:
    async with HeartbeatMonitor(registry) as monitor:
        for start in range(0, 10_000, 500):
            names = [f"c{number}" for number in range(start, start + 500)]
            here = await asyncio.gather(*(ready(registry, name, capabilities=[name, "all"]) for name in names))
            for one in here:
                monitor.beat(one.component_id, one.instance_uuid, {"load": 1.0})
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                for one in here:
                    group.create_task(registry.wait_until(one.component_id, lambda record: record is None))
                await asyncio.sleep(0)
                for one in here:
                    group.create_task(registry.deregister(one.component_id, one.instance_uuid))

        assert registry.components() == registry.all_instances() == []
        assert (registry.capabilities(), registry.graph(), len(registry.table)) == ({}, {}, 0)
        assert what_is_left(monitor) == {}
        ledger = registry._ledger
        for part in (ledger, ledger.view, ledger.commits, ledger.commits._pending):
            assert what_is_left(part) == {}
        assert len(ledger.view._capabilities) == 0
        assert not ledger.feed._waiting
        assert len(ledger._head) <= 1000


async def test_deregistering_forgets_the_component_but_not_its_history(registry: ComponentRegistry) -> None:
    one = await ready(registry)

    await registry.deregister_component("x", one.instance_uuid)

    assert registry.find("x") is None
    history = await registry.get_history("x")
    assert [entry.kind for entry in history] == ["deregistered", "state", "state", "state", "registered"]
    assert [entry.revision for entry in history] == sorted((entry.revision for entry in history), reverse=True)


async def test_an_instance_that_is_written_in_another_way_is_not_observed(registry: ComponentRegistry) -> None:
    one = await ready(registry, instance_uuid="6ba7b810-9dad-41d1-80b4-00c04fd430c8")

    assert not registry.observe("x", one.instance_uuid.upper(), FAILED, "exit 1")
    assert registry.table.state(registry.table.find("x", one.instance_uuid)) == READY.index


async def test_a_reason_may_have_what_utf_8_cannot_carry(registry: ComponentRegistry) -> None:
    one = await ready(registry)

    registry.observe("x", one.instance_uuid, FAILED, b"caf\xe9".decode(errors="surrogateescape"))
    await registry.set_state("x", one.instance_uuid, ComponentState.STOPPING, "\ud800")

    history = await registry.get_history("x")
    assert [entry.reason for entry in history[:2]] == ["\\ud800", "caf\\udce9"]


# Waiting


async def test_waiting_for_a_state_ends_with_the_change_that_brings_it(registry: ComponentRegistry) -> None:
    one = await registered(registry)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(registry.wait_until("x", lambda best: best is not None and best.usable))
        await asyncio.sleep(0)
        assert not waiting.done()
        await registry.make_ready("x", one.instance_uuid)

    assert waiting.result().state is READY  # type: ignore[union-attr]


async def test_a_predicate_that_raises_fails_only_who_waits_with_it(registry: ComponentRegistry) -> None:
    async with asyncio.timeout(5):
        failed, found, _ = await asyncio.gather(
            registry.wait_until("x", lambda best: best is not None and 1 / 0 > 0),
            registry.wait_until("x", lambda best: best is not None),
            registered(registry),
            return_exceptions=True,
        )

    assert isinstance(failed, ZeroDivisionError)
    assert found is registry.find("x")


# Traffic


async def test_traffic_is_taken_away_without_a_change_of_state(registry: ComponentRegistry) -> None:
    one = await ready(registry, capabilities=["c"])
    changes = record_changes(registry)

    assert registry.observe_serving("x", one.instance_uuid, False, "GET /ready answered 503")

    (change,) = changes
    assert (change.kind, change.previous, change.state) == ("serving", READY, READY)
    assert (change.reason, change.record.reason) == ("GET /ready answered 503", None)
    record = registry.find("x")
    assert record is not None
    assert (record.usable, record.serving, record.discoverable) == (True, False, False)
    assert registry.by_capability("c") == registry.page(capability="c").items == []
    assert registry.page(capability="c", state=READY).items == [record]
    assert registry.capabilities() == {"c": ["x"]}


async def test_the_history_tells_why_traffic_was_taken_away_and_given_back(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe_serving("x", one.instance_uuid, False, "no answer within 2 s")
    registry.observe_serving("x", one.instance_uuid, True, "it answers again")

    newest, before = await registry.get_history("x", limit=2)

    assert (newest.kind, newest.reason) == ("serving", "it answers again")
    assert (before.kind, before.state, before.reason) == ("serving", READY, "no answer within 2 s")


async def test_who_serves_is_no_news_twice(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    changes = record_changes(registry)

    assert not registry.observe_serving("x", one.instance_uuid, True, "it serves")
    assert registry.observe_serving("x", one.instance_uuid, False, "it does not")
    assert not registry.observe_serving("x", one.instance_uuid, False, "it still does not")
    assert len(changes) == 1


async def test_nothing_is_said_of_the_traffic_of_who_cannot_be_used(registry: ComponentRegistry) -> None:
    one = await registered(registry)

    assert not registry.observe_serving("x", one.instance_uuid, False, "not yet")
    assert not registry.observe_serving("x", registration().instance_uuid, False, "nobody")
    assert not registry.observe_serving("y", one.instance_uuid, False, "nobody")

    record = registry.find("x")
    assert record is not None
    assert record.serving


async def test_an_instance_that_is_started_anew_serves(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe_serving("x", one.instance_uuid, False, "busy")
    for state in (FAILED, ComponentState.INITIALIZING):
        await registry.set_state("x", one.instance_uuid, state)

    await registry.make_ready("x", one.instance_uuid)

    record = registry.find("x")
    assert record is not None
    assert record.discoverable


async def test_a_new_instance_serves(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe_serving("x", one.instance_uuid, False, "busy")
    registry.observe("x", one.instance_uuid, FAILED, "exit 1")

    await ready(registry)

    record = registry.find("x")
    assert record is not None
    assert record.discoverable


async def test_who_is_degraded_or_registers_again_stays_without_traffic(registry: ComponentRegistry) -> None:
    one = await ready(registry)
    registry.observe_serving("x", one.instance_uuid, False, "busy")

    await registry.set_state("x", one.instance_uuid, ComponentState.DEGRADED)
    await registry.register(registration(instance_uuid=one.instance_uuid, version="2"))

    record = registry.find("x")
    assert record is not None
    assert (record.usable, record.serving, record.version) == (True, False, "2")


# Durability and sharing


async def test_who_serves_is_known_after_reopening(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        for name in ("x", "y"):
            await ready(registry, name, capabilities=["c"])
        withdrawn = registry.find("x")
        assert withdrawn is not None
        registry.observe_serving("x", withdrawn.instance_uuid, False, "busy")

    async with ComponentRegistry(data_dir=tmp_path) as registry:
        assert [record.component_id for record in registry.by_capability("c")] == ["y"]
        assert (await registry.get_history("x", limit=1))[0].reason == "busy"


async def test_a_record_of_before_there_was_serving_serves() -> None:
    store = MemoryStore()
    async with ComponentRegistry(store=store) as registry:
        await ready(registry, capabilities=["c"])
    old = {key: json.loads(text) for key, text in store._records.items()}
    store._records = {
        key: json.dumps({name: value for name, value in record.items() if name != "serving"})
        for key, record in old.items()
    }

    async with ComponentRegistry(store=store) as registry:
        assert [record.component_id for record in registry.by_capability("c")] == ["x"]


async def test_registries_on_one_directory_share_what_they_know(tmp_path: Path) -> None:
    one = ComponentRegistry(data_dir=tmp_path)
    other = ComponentRegistry(data_dir=str(tmp_path) + "/.")

    await ready(one, "hermes")

    assert other.find("hermes") is one.find("hermes")
    await one.close()
    await ready(other, "engram")
    await other.close()


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        one = await ready(registry, capabilities=["c"], metadata={"k": [1, 2]})
        await registry.flush()
        before, revision, incarnation = registry.components(), registry.revision, registry.incarnation

    async with ComponentRegistry(data_dir=tmp_path) as registry:
        assert registry.components() == before
        assert registry.revision >= revision
        assert registry.incarnation == incarnation + 1
        assert [record.component_id for record in registry.by_capability("c")] == ["x"]
        await registry.set_state("x", one.instance_uuid, ComponentState.STOPPING)


async def test_observations_are_durable_after_a_flush(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        one = await ready(registry)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")

    async with ComponentRegistry(data_dir=tmp_path) as registry:
        record = registry.find("x")
        assert record is not None
        assert (record.state, record.reason) == (FAILED, "exit 1")


async def test_positions_of_an_incarnation_that_crashed_are_unknown_to_the_next(
    new_inline_registry: Callable[..., ComponentRegistry],
) -> None:
    store = MemoryStore()
    registry = new_inline_registry(store)
    one = await ready(registry)
    positions = [registry.revision]
    for times in range(1, 4):
        # Seen by watchers, but lost with the process.
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
        positions.append(registry.revision)
        registry._finalizer()
        registry = new_inline_registry(store)
        assert state_of(registry) is READY
        for state in (ComponentState.DEGRADED, READY) * times:
            registry.observe("x", one.instance_uuid, state, "slow, for a moment")
        for position in positions:
            with pytest.raises(CursorExpiredError):
                registry.feed.subscribe(position)
    await registry.close()


async def test_records_that_cannot_be_read_leave_the_store_closed() -> None:
    class Damaged(MemoryStore):
        def open(self) -> Loaded:
            return super().open()._replace(records=['{"component_id": 1}'])

    store = Damaged()
    for _ in range(2):
        with pytest.raises(StorageCorruptError, match="component_id"):
            ComponentRegistry(store=store)


def test_a_registry_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    registry = ComponentRegistry(data_dir=tmp_path)

    asyncio.run(ready(registry, "a"))
    asyncio.run(ready(registry, "b"))

    assert [record.component_id for record in registry.components()] == ["a", "b"]
    asyncio.run(registry.close())


async def test_closing_twice_is_harmless_and_commands_are_refused_afterwards() -> None:
    registry = ComponentRegistry()
    await registry.close()
    await registry.close()

    with pytest.raises(StorageError, match="closed"):
        await registry.register(registration())


async def test_many_concurrent_registrations_share_batches(registry: ComponentRegistry) -> None:
    await asyncio.gather(*(ready(registry, f"c{number}") for number in range(300)))

    assert len(registry.components()) == 300
    assert all(record.state is READY for record in registry.components())


# Components with several instances.


async def test_a_registration_replaces_only_the_ended_instances_that_it_may(registry: ComponentRegistry) -> None:
    several = [ComponentRegistration(component_id="x", max_instances=3) for _ in range(3)]
    for one in several[:2]:
        await registry.register(one)
        registry.observe("x", one.instance_uuid, FAILED, "exit 1")
    first = several[0].instance_uuid

    await registry.register(several[2], replaces=lambda record: record.instance_uuid == first)

    assert {record.instance_uuid for record in registry.instances("x")} == {one.instance_uuid for one in several[1:]}


async def test_a_supervised_instance_that_describes_itself_leaves_room_for_its_siblings(
    registry: ComponentRegistry,
) -> None:
    first = ComponentRegistration(component_id="x", max_instances=2)
    await registry.register(first, supervised=True)

    own = ComponentRegistration(component_id="x", instance_uuid=first.instance_uuid, version="2")
    record = (await registry.register(own)).record

    assert (record.version, record.max_instances) == ("2", 2)
    assert (await registry.register(ComponentRegistration(component_id="x", max_instances=2), supervised=True)).created


async def test_supervised_instances_do_not_count_for_each_other(registry: ComponentRegistry) -> None:
    for _ in range(2):
        await registry.register(ComponentRegistration(component_id="x"), supervised=True)
    with pytest.raises(ComponentExistsError):
        await registry.register(ComponentRegistration(component_id="x"))

    await registry.register(ComponentRegistration(component_id="y"))
    with pytest.raises(ComponentExistsError):
        await registry.register(ComponentRegistration(component_id="y"), supervised=True)
