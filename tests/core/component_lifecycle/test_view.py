"""The committed view: best instance, capability index, pages."""

import random

import pytest
from component_records import component_record

from tekton.core.component_lifecycle.view import CommittedView, Filter
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.utils.tekton_errors import CursorExpiredError


def record(
    component_id: str,
    instance: str = "a",
    state: ComponentState = ComponentState.READY,
    generation: int = 1,
    capabilities: tuple[str, ...] = (),
    component_type: str = "service",
    *,
    serving: bool = True,
) -> ComponentRecord:
    return component_record(
        component_id,
        instance,
        state=state,
        generation=generation,
        capabilities=capabilities,
        component_type=component_type,
        max_instances=9,
        serving=serving,
    )


def view_of(*records: ComponentRecord) -> CommittedView:
    view = CommittedView()
    for one in records:
        view.put(one)
    return view


def test_a_ready_instance_is_preferred_over_a_degraded_one_over_a_failed_one() -> None:
    ready = record("x", "a", ComponentState.READY, 1)
    degraded = record("x", "b", ComponentState.DEGRADED, 2)
    failed = record("x", "c", ComponentState.FAILED, 3)
    view = view_of(failed, ready, degraded)

    assert view.find("x") is ready
    assert view.instances("x") == [ready, degraded, failed]


def test_among_equals_the_newest_generation_is_preferred() -> None:
    view = view_of(record("x", "a", generation=1), record("x", "b", generation=2))

    best = view.find("x")

    assert best is not None
    assert best.instance_uuid == "b"


def test_an_older_instance_in_a_better_state_is_preferred_over_a_newer_one() -> None:
    best_first = [ComponentState.READY, ComponentState.DEGRADED, ComponentState.STARTING, ComponentState.STOPPED]
    records = [record("x", name, state, ord(name)) for name, state in zip("abcd", best_first, strict=True)]

    assert view_of(*records).instances("x") == records
    assert view_of(*records[1:]).find("x") is records[1]
    assert view_of(*records[2:]).find("x") is records[2]


def test_an_instance_that_serves_is_preferred_among_those_that_can_be_used() -> None:
    serving = record("x", "a", ComponentState.READY, 1)
    degraded = record("x", "b", ComponentState.DEGRADED, 2)
    withdrawn = record("x", "c", ComponentState.READY, 3, serving=False)
    starting = record("x", "d", ComponentState.STARTING, 4)

    assert view_of(starting, withdrawn, degraded, serving).instances("x") == [serving, degraded, withdrawn, starting]


def test_discovery_does_not_name_who_does_not_serve() -> None:
    withdrawn = record("x", capabilities=("c",), serving=False)
    view = view_of(withdrawn, record("y", capabilities=("c",)))

    assert [one.component_id for one in view.by_capability("c")] == ["y"]
    assert [one.component_id for one in view.page(Filter(capability="c"), 9, None, 1).items] == ["y"]
    assert view.find("x") is withdrawn


def test_dropping_the_last_instance_forgets_the_component() -> None:
    only = record("x", capabilities=("c",))
    view = view_of(record("w"), only, record("y"))

    view.drop(only)

    assert view.find("x") is None
    assert [one.component_id for one in view.components()] == ["w", "y"]
    assert view.capabilities() == {}


def test_discovery_returns_usable_instances_with_ready_ones_first() -> None:
    degraded = record("a", state=ComponentState.DEGRADED, capabilities=("c",))
    starting = record("b", state=ComponentState.STARTING, capabilities=("c",))
    ready = record("z", capabilities=("c", "d"))
    view = view_of(degraded, starting, ready)

    assert view.by_capability("c") == [ready, degraded]
    assert view.by_capability("nothing") == []
    assert view.capabilities() == {"c": ["a", "b", "z"], "d": ["z"]}


def test_changed_capabilities_replace_the_old_ones_in_the_index() -> None:
    view = view_of(record("x", capabilities=("old", "kept")))

    view.put(record("x", capabilities=("kept", "new")))

    assert view.capabilities() == {"kept": ["x"], "new": ["x"]}


def test_a_name_that_a_stored_record_has_twice_is_no_trouble() -> None:
    twice = record("x", capabilities=("c", "c"))
    view = view_of(twice)

    view.drop(twice)

    assert view.capabilities() == {}


def test_the_nearest_name_is_another_one() -> None:
    view = view_of(*(record(f"c{number:04}") for number in range(2000)))

    assert view.nearest("c1999x") == "c1999"
    assert view.nearest("c1000") not in (None, "c1000")


def test_pages_give_every_component_once_while_others_come_and_go() -> None:
    names = [f"c{number:03}" for number in range(100)]
    view = view_of(*(record(name) for name in names))
    rng = random.Random(7)
    seen: list[str] = []

    cursor = None
    while True:
        page = view.page(Filter(), 7, cursor, 1)
        seen += [one.component_id for one in page.items]
        passing = record(f"c{rng.randrange(100):03}x")
        view.put(passing)
        if page.cursor is None:
            break
        cursor = page.cursor

    assert [name for name in seen if not name.endswith("x")] == names
    assert len(seen) == len(set(seen))


def test_a_page_that_ends_exactly_with_the_last_component_has_no_cursor() -> None:
    view = view_of(record("a"), record("b"))

    assert view.page(Filter(), 2, None, 1).cursor is None


def test_filters_restrict_a_page() -> None:
    view = view_of(
        record("a", state=ComponentState.FAILED, capabilities=("c",)),
        record("b", capabilities=("c",), component_type="agent"),
        record("d"),
    )

    def ids(wanted: Filter) -> list[str]:
        return [one.component_id for one in view.page(wanted, 10, None, 1).items]

    assert ids(Filter(state=ComponentState.FAILED)) == ["a"]
    assert ids(Filter(component_type="agent")) == ["b"]
    assert ids(Filter(capability="c")) == ["b"]
    assert ids(Filter(state=ComponentState.FAILED, capability="c")) == ["a"]
    assert ids(Filter(state=ComponentState.READY, capability="c")) == ["b"]


def test_a_forged_cursor_is_refused() -> None:
    with pytest.raises(CursorExpiredError):
        view_of(record("a")).page(Filter(), 1, "\x00not base64", 1)


# Components with several instances


def test_a_capability_is_offered_as_long_as_one_instance_offers_it() -> None:
    first, second = record("x", "a", capabilities=("c", "d")), record("x", "b", capabilities=("c",))
    view = view_of(first, second)
    assert view.capabilities() == {"c": ["x"], "d": ["x"]}

    view.drop(first)
    assert view.capabilities() == {"c": ["x"]}
    assert view.by_capability("c") == [second]

    view.drop(second)
    assert view.capabilities() == {}


def test_discovery_names_only_the_instances_that_offer_the_capability() -> None:
    offering = record("x", "a", generation=1, capabilities=("c",))
    view = view_of(offering, record("x", "b", generation=2))

    assert view.by_capability("c") == [offering]


def test_the_last_of_several_instances_is_found_like_any_other() -> None:
    first, second = record("x", "a", generation=1), record("x", "b", generation=2)
    view = view_of(first, second)

    view.drop(second)

    assert (view.find("x"), view.instances("x")) == (first, [first])
    assert (view.instance("x", "a"), view.instance("x", "b")) == (first, None)


def test_dropping_what_is_not_there_changes_nothing() -> None:
    known = record("x", "a", capabilities=("c",))
    view = view_of(known)

    view.drop(record("x", "b", capabilities=("c",)))
    view.drop(record("y", "a"))

    assert (view.instances("x"), view.capabilities()) == ([known], {"c": ["x"]})


def test_the_view_does_what_plain_dictionaries_do() -> None:
    rng = random.Random(11)
    view, plain = CommittedView(), dict[tuple[str, str], ComponentRecord]()
    for generation in range(3000):
        key = (rng.choice("pqrs"), rng.choice("abc"))
        if rng.random() < 0.4:
            view.drop(record(*key))
            plain.pop(key, None)
        else:
            capabilities = tuple(rng.sample(["c", "d", "e"], rng.randrange(4)))
            serving = rng.random() < 0.7
            plain[key] = record(*key, rng.choice(list(ComponentState)), generation, capabilities, serving=serving)
            view.put(plain[key])

        everything = sorted(plain.values(), key=lambda one: one.component_id)
        assert sorted(view.all_instances(), key=lambda one: one.generation) == sorted(
            everything, key=lambda one: one.generation
        )
        for name in "cde":
            offering = [one for one in everything if name in one.capabilities]
            assert view.capabilities().get(name, []) == sorted({one.component_id for one in offering})
            named = {one.generation for one in offering if one.usable and one.serving}
            assert {one.generation for one in view.by_capability(name)} == named
            listed = [one.generation for one in view.page(Filter(capability=name), 9, None, 1).items]
            assert listed == [one.generation for one in view.components() if one.generation in named]
        assert view.instance(*key) == plain.get(key)
