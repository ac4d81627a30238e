"""Groups that limit memory, on a directory that looks like what the kernel gives."""

import os
from pathlib import Path

import pytest

from tekton.supervisor import cgroups
from tekton.supervisor.cgroups import MemoryGroups, base_directory, has_killed
from tekton.supervisor.exits import Exit

MOUNT = "36 25 0:31 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"


@pytest.mark.parametrize(
    ("cgroup", "mount", "base"),
    [
        (["0::/system.slice/tekton.service/main"], [MOUNT], "/sys/fs/cgroup/system.slice/tekton.service"),
        (["4:memory:/x", "0::/box/main"], ["1 1 0:1 / / rw - ext4 a rw", MOUNT], "/sys/fs/cgroup/box"),
        (["0::/pod/tekton/main"], [MOUNT.replace("/ /sys", "/pod /sys")], "/sys/fs/cgroup/tekton"),
        (["0::/"], [MOUNT], None),
        (["0::/elsewhere"], [MOUNT.replace("/ /sys", "/pod /sys")], None),
        (["4:memory:/x"], [MOUNT], None),
        (["0::/box/main"], [], None),
    ],
)
def test_groups_are_made_beside_the_one_that_we_run_in(cgroup: list[str], mount: list[str], base: str | None) -> None:
    assert base_directory(cgroup, mount) == base


def test_a_group_has_its_limit_and_is_killed_as_a_whole(tmp_path: Path) -> None:
    group = MemoryGroups(str(tmp_path), "mine").make("run.1", 1 << 20)

    assert group == str(tmp_path / "tekton-mine.run.1")
    assert (tmp_path / "tekton-mine.run.1" / "memory.max").read_text() == str(1 << 20)
    assert (tmp_path / "tekton-mine.run.1" / "memory.oom.group").read_text() == "1"


def test_groups_of_an_earlier_run_are_removed_and_those_of_others_are_not(tmp_path: Path) -> None:
    for name in ("tekton-mine.old.1", "tekton-yours.old.1", "main"):
        (tmp_path / name).mkdir()

    MemoryGroups(str(tmp_path), "mine")

    assert sorted(os.listdir(tmp_path)) == ["main", "tekton-yours.old.1"]


def test_without_a_delegated_group_there_is_none() -> None:
    assert MemoryGroups(None, "mine").make("run.1", 1 << 20) is None


def test_a_group_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    (tmp_path / "tekton-mine.run.1").write_text("")
    assert MemoryGroups(str(tmp_path), "mine").make("run.1", 1 << 20) is None


def test_the_kernel_tells_what_it_has_killed(tmp_path: Path) -> None:
    assert not has_killed(str(tmp_path))
    (tmp_path / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 0\n")
    assert not has_killed(str(tmp_path))
    (tmp_path / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 2\n")
    assert has_killed(str(tmp_path))


def test_joining_names_the_own_process(tmp_path: Path) -> None:
    cgroups.join(str(tmp_path))
    assert (tmp_path / "cgroup.procs").read_text() == "0"


def test_an_end_for_want_of_memory_is_told_with_the_limit() -> None:
    assert str(Exit(None, 9, 512 << 20)) == "killed: out of memory, limit 512 MiB"
