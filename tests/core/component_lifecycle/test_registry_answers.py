"""The registry's calls with the specification's names: they answer in sentences, or with what the others return."""

import pytest
from registering import registration

from tekton.core.component_lifecycle import ComponentRegistry, Result
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import InvalidIdError

FAILED = ComponentState.FAILED


async def test_commands_that_succeed_say_what_was_done(registry: ComponentRegistry) -> None:
    one = registration()

    assert [
        await registry.register_component(one),
        await registry.register_component(one),
        await registry.update_component_state("x", one.instance_uuid, "initializing"),
        await registry.mark_component_ready("x", one.instance_uuid),
        await registry.deregister_component("x", one.instance_uuid),
        await registry.register_component(registration()),
    ] == [
        Result(True, "x registered as generation 1"),
        Result(True, "x already registered as generation 1"),
        Result(True, "x is initializing"),
        Result(True, "x is ready"),
        Result(True, "x is deregistered"),
        Result(True, "x registered as generation 1"),
    ]


async def test_commands_that_are_refused_say_why(registry: ComponentRegistry) -> None:
    one, other = registration(), registration()
    await registry.register(one)
    registry.observe("x", one.instance_uuid, FAILED, "exit 1")

    refusals = [
        await registry.update_component_state("x", one.instance_uuid, "ready"),
        await registry.mark_component_ready("x", one.instance_uuid),
        await registry.deregister_component("x", other.instance_uuid),
        await registry.deregister_component("y", other.instance_uuid),
    ]

    assert [refusal.success for refusal in refusals] == [False] * 4
    assert [refusal.message for refusal in refusals[:2]] == ["x: failed -> ready is not a legal transition"] * 2
    assert other.instance_uuid in refusals[2].message
    assert refusals[3].message == "no component 'y'"


async def test_an_id_that_is_none_is_an_error_even_for_the_call_that_answers(registry: ComponentRegistry) -> None:
    with pytest.raises(InvalidIdError):
        await registry.register_component(registration("Not an id"))


async def test_each_asynchronous_read_returns_what_the_direct_one_does(registry: ComponentRegistry) -> None:
    for name, state in (("a", "agent"), ("b", "service"), ("c", "service")):
        one = registration(name, component_type=state, capabilities=[f"of-{name}", "shared"])
        await registry.register(one)
        await registry.make_ready(name, one.instance_uuid)
        assert registry.instance(name, one.instance_uuid) is registry.find(name)
        assert registry.instance(name, registration().instance_uuid) is None

    assert await registry.get_component("b") is registry.find("b")
    assert await registry.get_instances("b") == registry.instances("b") == [registry.find("b")]
    assert await registry.get_components_by_capability("of-b") == registry.by_capability("of-b") == [registry.find("b")]
    first = await registry.list_components(limit=2)
    assert first == registry.page(limit=2)
    assert [record.component_id for record in first.items] == ["a", "b"]
    second = await registry.list_components(limit=2, cursor=first.cursor)
    assert [record.component_id for record in second.items] == ["c"]
    for wanted in (
        {"component_type": "agent"},
        {"capability": "of-a"},
        {"capability": "shared", "component_type": "agent"},
    ):
        page = await registry.list_components(**wanted)  # type: ignore[arg-type]
        assert [record.component_id for record in page.items] == ["a"]
    assert (await registry.list_components(state=FAILED)).items == []
    assert first.revision == registry.revision


async def test_a_page_has_at_least_one_and_at_most_a_thousand_components(registry: ComponentRegistry) -> None:
    for name in ("a", "b"):
        await registry.register(registration(name))

    assert [len(registry.page(limit=limit).items) for limit in (-5, 0, 1, 2, 10**9)] == [1, 1, 1, 2, 2]


async def test_unsteady_components_are_named_last_by_discovery(registry: ComponentRegistry) -> None:
    for name in ("a", "b", "c"):
        one = registration(name, capabilities=["chat"])
        await registry.register(one)
        await registry.make_ready(name, one.instance_uuid)

    registry.unsteady = {"a"}

    assert [record.component_id for record in registry.by_capability("chat")] == ["b", "c", "a"]


async def test_history_is_read_in_pages(registry: ComponentRegistry) -> None:
    one = registration()
    await registry.register(one)
    await registry.make_ready("x", one.instance_uuid)
    whole = [entry.revision for entry in await registry.get_history("x")]

    newest = [entry.revision for entry in await registry.get_history("x", 2)]
    older = [entry.revision for entry in await registry.get_history("x", 100, newest[-1])]

    assert len(newest) == 2
    assert newest + older == whole
