"""A data directory, seen from outside."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tekton.cli.instance import Instance
from tekton.utils.tekton_errors import StorageLockedError


@pytest.fixture
def instance(data_dir: Path) -> Instance:
    return Instance(data_dir)


def test_an_empty_directory_belongs_to_nobody(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "nothing")

    assert instance.owner_pid is None
    assert instance.url is None
    assert instance.credential is None


def test_the_guard_that_holds_the_lock_is_the_owner(instance: Instance, held: Any) -> None:
    (instance.run_dir / "guard.json").write_text(json.dumps({"pid": 4711}))

    with held(instance.run_dir / "guard.lock"):
        assert instance.owner_pid == 4711


def test_what_a_dead_guard_left_behind_owns_nothing(instance: Instance) -> None:
    (instance.run_dir / "guard.json").write_text(json.dumps({"pid": os.getpid()}))
    (instance.run_dir / "guard.lock").touch()

    assert instance.owner_pid is None


def test_a_control_plane_without_a_guard_is_the_owner(instance: Instance, held: Any) -> None:
    with held(instance.data_dir / "LOCK", "4712\n"):
        assert instance.owner_pid == 4712


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"pid": "x"}'])
def test_an_owner_that_cannot_be_named_is_an_owner_all_the_same(instance: Instance, text: str, held: Any) -> None:
    (instance.run_dir / "guard.json").write_text(text)

    with held(instance.run_dir / "guard.lock"):
        assert instance.owner_pid == 0
        with pytest.raises(StorageLockedError, match="in use by another process"):
            instance.refuse_if_owned()


def test_looking_does_not_keep_the_lock(instance: Instance, held: Any) -> None:
    (instance.run_dir / "guard.lock").touch()

    assert instance.owner_pid is None
    with held(instance.run_dir / "guard.lock"):
        pass
