"""Types of tasks that are declared to the control plane."""

from pathlib import Path

import pytest

from tekton.a2a.task_types import TaskTypes
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.service.task_types import KIND, DeclaredTypes
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import (
    InvalidIdError,
    StorageFullError,
    TaskTypeLimitError,
    TaskTypeNotFoundError,
)


async def test_a_type_outlasts_the_control_plane(tmp_path: Path) -> None:
    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        types = DeclaredTypes(components.documents, TaskTypes())
        first = await types.declare("release", ["build", "publish", "build"])
        again = await types.declare("release", ["build", "ship"])

    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        known = TaskTypes()
        DeclaredTypes(components.documents, known)

    assert (first[0].capabilities, first[1], again[1]) == (("build", "publish"), True, False)
    assert known.find("release").capabilities == ("build", "ship")


async def test_what_is_forgotten_is_as_if_it_had_not_been_declared() -> None:
    async with ComponentRegistry() as components:
        known = TaskTypes()
        types = DeclaredTypes(components.documents, known)
        await types.declare("release", ["build"])
        _, new = await types.declare("code_optimization", ["magic"])

        gone = await types.forget("release")
        await types.forget("code_optimization")

        assert (gone.name, gone.capabilities, new) == ("release", ("build",), False)
        assert [one.name for one in types.all()] == ["code_optimization"]
        assert known.find("code_optimization").capabilities == ("code_generation", "code_review")
        for name in ("release", "code_optimization", "never"):
            with pytest.raises(TaskTypeNotFoundError):
                await types.forget(name)


async def test_what_is_no_type_or_one_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.task_types.MOST", 1)
    async with ComponentRegistry() as components:
        types = DeclaredTypes(components.documents, TaskTypes())
        await types.declare("release", ["build"])

        for name, capabilities, error in (
            ("No Type", ["build"], InvalidIdError),
            ("release", ["No Capability"], InvalidIdError),
            ("another", ["build"], TaskTypeLimitError),
        ):
            with pytest.raises(error):
                await types.declare(name, capabilities)

        assert list(components.documents.all(KIND)) == ["release"]


async def test_what_is_not_kept_does_not_hold() -> None:
    store = FaultyStore(MemoryStore())
    async with ComponentRegistry(store=store) as components:
        known = TaskTypes()
        types = DeclaredTypes(components.documents, known)
        await types.declare("release", ["build"])
        store.full = True

        with pytest.raises(StorageFullError):
            await types.declare("release", ["other"])
        with pytest.raises(StorageFullError):
            await types.forget("release")

        assert known.find("release").capabilities == ("build",)


async def test_a_document_that_is_no_type_is_told_of_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async with ComponentRegistry() as components:
        await components.documents.put(KIND, "good", b'["build"]')
        await components.documents.put(KIND, "bad", b"{")

        types = DeclaredTypes(components.documents, TaskTypes())

        assert [one.name for one in types.all()] == ["code_optimization", "good"]
        assert len(caplog.records) == 1
