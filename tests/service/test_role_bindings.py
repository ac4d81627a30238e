"""Which roles are bound to whom, and by what."""

from collections.abc import AsyncIterator

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.service.role_bindings import RoleBindings


@pytest.fixture
async def registry() -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry(store=MemoryStore()) as made:
        yield made


@pytest.fixture
def bindings(registry: ComponentRegistry) -> RoleBindings:
    made = RoleBindings(registry.documents)
    made.adopt({"mona": ["monitor"], "hermes": ["admin"]})
    made.know_components({"hermes", "ergon"}.__contains__, lambda: 7, lambda: ["hermes", "ergon"])
    return made


async def test_all_that_binds_adds_up(bindings: RoleBindings) -> None:
    await bindings.bind("hermes", ["operator"])

    assert bindings.of("hermes") == {"admin", "operator", "component"}
    assert bindings.of("ergon") == {"component"}
    assert bindings.of("nobody") == frozenset()


async def test_the_subjects_are_all_to_whom_something_is_bound(bindings: RoleBindings) -> None:
    await bindings.bind("ada", ["operator"])

    assert bindings.subjects() == {"mona", "hermes", "ergon", "ada"}


async def test_only_what_was_given_can_be_taken_back(bindings: RoleBindings) -> None:
    await bindings.bind("mona", ["operator", "deployer"])

    assert await bindings.unbind("mona", ["operator", "monitor", "admin"]) == ["operator"]
    assert bindings.of("mona") == {"monitor", "deployer"}
    assert await bindings.unbind("mona", ["deployer"]) == ["deployer"]
    assert await bindings.unbind("mona", ["deployer"]) == []
    assert bindings.of("mona") == {"monitor"}


async def test_each_binding_is_another_epoch(bindings: RoleBindings) -> None:
    epochs = [bindings.epoch]
    await bindings.bind("ada", ["operator"])
    epochs.append(bindings.epoch)
    await bindings.unbind("ada", ["operator"])
    epochs.append(bindings.epoch)

    assert epochs == sorted(set(epochs))
