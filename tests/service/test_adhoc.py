"""The file of components that were added while the system runs."""

import os
import stat
from pathlib import Path

import pytest

from tekton.service.adhoc import AdHoc, AdHocFile
from tekton.utils.tekton_config import ComponentSpec, DependencySpec, ProbeSpec

BILLING = ComponentSpec(
    name="billing",
    command=["node", "server.js"],
    env={"API_TOKEN": "0123456789"},
    port=9100,
    ready=ProbeSpec(http="/healthz"),
    dependencies=[DependencySpec(component="hermes", condition="started")],
)
OTHER = ComponentSpec(name="other", command=["true"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adhoc.json"


def test_what_was_kept_is_there_for_the_next_control_plane_of_the_run(path: Path) -> None:
    AdHocFile(path, "run-1").save({"billing": BILLING, "other": OTHER})

    assert AdHocFile(path, "run-1").load() == {"billing": BILLING, "other": OTHER}


def test_nothing_is_there_for_another_run(path: Path) -> None:
    AdHocFile(path, "run-1").save({"billing": BILLING})

    assert AdHocFile(path, "run-2").load() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": "run-1"}', b"\xff"])
def test_a_file_that_cannot_be_read_holds_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert AdHocFile(path, "run-1").load() == {}


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    previous = os.umask(0)
    try:
        AdHocFile(path, "run-1").save({"billing": BILLING})
    finally:
        os.umask(previous)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_one_component_is_kept_and_forgotten_without_the_others(path: Path) -> None:
    adhoc = AdHoc(AdHocFile(path, "run-1"))
    await adhoc.keep(BILLING)
    await adhoc.keep(OTHER)
    await adhoc.forget("billing")

    assert adhoc.specs == {"other": OTHER}
    assert AdHocFile(path, "run-1").load() == {"other": OTHER}


async def test_what_cannot_be_written_changes_nothing(path: Path) -> None:
    adhoc = AdHoc(AdHocFile(path, "run-1"))
    await adhoc.keep(BILLING)
    path.with_suffix(".new").mkdir()

    with pytest.raises(OSError, match="directory"):
        await adhoc.keep(OTHER)

    assert adhoc.specs == AdHocFile(path, "run-1").load() == {"billing": BILLING}


def test_the_end_of_the_run_leaves_no_file(path: Path) -> None:
    AdHocFile(path, "run-1").save({"billing": BILLING})
    adhoc = AdHoc(AdHocFile(path, "run-1"))
    adhoc.discard()
    adhoc.discard()

    assert not path.exists()
    assert adhoc.specs == {}
