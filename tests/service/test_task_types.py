"""Types of tasks that are declared to the control plane."""

from pathlib import Path

import msgspec
import pytest

from tekton.a2a.planner import Planners
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_types import TaskTypes
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.service.task_types import KIND, Declaration, DeclaredTypes
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import (
    InvalidIdError,
    InvalidTaskError,
    StorageFullError,
    TaskCycleError,
    TaskTypeLimitError,
    TaskTypeNotFoundError,
)


async def test_a_type_outlasts_the_control_plane(tmp_path: Path) -> None:
    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        types = DeclaredTypes(components.documents, TaskTypes(), Planners())
        first = await types.declare("release", Declaration(["build", "publish", "build"]))
        again = await types.declare("release", Declaration(["build", "ship"]))

    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        known = TaskTypes()
        DeclaredTypes(components.documents, known, Planners())

    assert (first[0].capabilities, first[1], again[1]) == (("build", "publish"), True, False)
    assert known.find("release").capabilities == ("build", "ship")


async def test_what_is_forgotten_is_as_if_it_had_not_been_declared() -> None:
    async with ComponentRegistry() as components:
        known = TaskTypes()
        types = DeclaredTypes(components.documents, known, Planners())
        await types.declare("release", Declaration(["build"]))
        _, new = await types.declare("code_optimization", Declaration(["magic"]))

        gone, _ = await types.forget("release")
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
        types = DeclaredTypes(components.documents, TaskTypes(), Planners())
        await types.declare("release", Declaration(["build"]))

        for name, capabilities, error in (
            ("No Type", ["build"], InvalidIdError),
            ("release", ["No Capability"], InvalidIdError),
            ("another", ["build"], TaskTypeLimitError),
        ):
            with pytest.raises(error):
                await types.declare(name, Declaration(capabilities))

        assert list(components.documents.all(KIND)) == ["release"]


async def test_what_is_not_kept_does_not_hold() -> None:
    store = FaultyStore(MemoryStore())
    async with ComponentRegistry(store=store) as components:
        known = TaskTypes()
        types = DeclaredTypes(components.documents, known, Planners())
        await types.declare("release", Declaration(["build"]))
        store.full = True

        with pytest.raises(StorageFullError):
            await types.declare("release", Declaration(["other"]))
        with pytest.raises(StorageFullError):
            await types.forget("release")

        assert known.find("release").capabilities == ("build",)


async def test_a_document_that_is_no_type_is_told_of_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async with ComponentRegistry() as components:
        await components.documents.put(KIND, "good", b'["build"]')
        await components.documents.put(KIND, "bad", b"{")

        types = DeclaredTypes(components.documents, TaskTypes(), Planners())

        assert [one.name for one in types.all()] == ["code_optimization", "good"]
        assert len(caplog.records) == 1


WHOLE = Declaration(
    ["build"],
    [Subtask("test", "testing", {"all": True}), Subtask("pack", "packing", {}, ["test"], "packer")],
    {"required": ["version"]},
    1.5,
)


async def test_all_that_is_declared_outlasts_the_control_plane(tmp_path: Path) -> None:
    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        await DeclaredTypes(components.documents, TaskTypes(), Planners()).declare("release", WHOLE)

    async with ComponentRegistry(store=SqliteStore(tmp_path)) as components:
        known, planners = TaskTypes(), Planners()
        types = DeclaredTypes(components.documents, known, planners)

    release = known.find("release")
    assert (release.capabilities, release.attempt_timeout) == (("build",), 1.5)
    assert release.check is not None
    release.check({"version": 1})
    with pytest.raises(ValueError, match="/version: required and missing"):
        release.check({})
    assert [(part.name, part.dependencies, part.agent_id) for part in planners.declared("release")] == [
        ("test", [], ""),
        ("pack", ["test"], "packer"),
    ]
    assert msgspec.json.encode(types.declaration(release)) == msgspec.json.encode(WHOLE)


async def test_what_is_declared_anew_or_forgotten_leaves_nothing_of_what_was() -> None:
    async with ComponentRegistry() as components:
        known, planners = TaskTypes(), Planners()
        types = DeclaredTypes(components.documents, known, planners)
        await types.declare("release", WHOLE)
        await types.declare("other", WHOLE)

        await types.declare("release", Declaration(["build"]))
        await types.forget("other")

        for name in ("release", "other"):
            declared = known.find(name)
            assert (declared.check, declared.attempt_timeout, name in planners) == (None, None, False)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Declaration(), InvalidTaskError),
        (Declaration(result_schema={"type": "no such"}), InvalidTaskError),
        (Declaration(result_schema={"$ref": "https://schemas.example/x"}), InvalidTaskError),
        (Declaration(attempt_timeout=-1.0), InvalidTaskError),
        (Declaration(subtasks=[Subtask("a", "x"), Subtask("a", "y")]), InvalidTaskError),
        (Declaration(subtasks=[Subtask("a", "x", {"much": "x" * 70_000})]), InvalidTaskError),
        (Declaration(subtasks=[Subtask("a", "release")]), TaskCycleError),
        (Declaration(subtasks=[Subtask("a", "other")]), TaskCycleError),
    ],
    ids=["nothing", "no schema", "a schema elsewhere", "no time", "names", "too much", "itself", "itself by another"],
)
async def test_what_cannot_be_declared_is_refused_and_nothing_is_kept(
    wanted: Declaration, error: type[Exception]
) -> None:
    async with ComponentRegistry() as components:
        planners = Planners()
        types = DeclaredTypes(components.documents, TaskTypes(), planners)
        await types.declare("other", Declaration(subtasks=[Subtask("a", "release")]))

        with pytest.raises(error):
            await types.declare("release", wanted)

        assert (list(components.documents.all(KIND)), "release" in planners) == (["other"], False)
