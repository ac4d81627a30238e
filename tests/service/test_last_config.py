"""The configuration that is kept for the control plane that replaces a crashed one."""

import json
import os
import stat
from pathlib import Path

import pytest

from tekton.service.last_config import LastConfig
from tekton.utils.tekton_config import TektonConfig

COMPONENTS = {
    "web": {
        "command": "web --fast",
        "env": {"API_TOKEN": "correct horse"},
        "port": 8100,
        "dependencies": ["db", {"component": "migrate", "condition": "completed"}],
        "ready": {"http": "/healthz"},
        "metadata": {"owner": ["ada"]},
    },
    "db": {"command": "db", "profiles": ["all"], "replicas": 2},
}
FALLBACKS = {"search": [{"component": "web", "parameters": {"depth": 1}}]}


@pytest.fixture
def config(tmp_path: Path) -> TektonConfig:
    (tmp_path / "components.json").write_text(json.dumps({"components": COMPONENTS, "fallbacks": FALLBACKS}))
    return TektonConfig.load(tmp_path, {"profiles": "all"}, {"HOME": str(tmp_path)}, tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory in which a guard has said who it is."""
    path = tmp_path / "run"
    path.mkdir()
    (path / "guard.json").write_text('{"pid": 1, "started_at": 1.5, "run_id": "first"}')
    return path


def test_the_next_control_plane_of_the_guard_finds_all_of_it(run: Path, config: TektonConfig) -> None:
    LastConfig(run).keep(config)

    assert LastConfig(run).find() == config


def test_only_its_owner_can_read_it(run: Path, config: TektonConfig) -> None:
    previous = os.umask(0)
    try:
        LastConfig(run).keep(config)
    finally:
        os.umask(previous)

    assert stat.S_IMODE((run / "config.json").stat().st_mode) == 0o600


def test_another_guard_finds_nothing(run: Path, config: TektonConfig) -> None:
    LastConfig(run).keep(config)
    (run / "guard.json").write_text('{"pid": 1, "started_at": 1.5, "run_id": "second"}')

    assert LastConfig(run).find() is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"run_id": "first"}', b"\xff"])
def test_what_cannot_be_read_is_nothing(run: Path, content: bytes) -> None:
    (run / "config.json").write_bytes(content)

    assert LastConfig(run).find() is None


def test_without_a_guard_nothing_is_kept(tmp_path: Path, config: TektonConfig) -> None:
    LastConfig(tmp_path).keep(config)

    assert not (tmp_path / "config.json").exists()


def test_that_it_cannot_be_written_is_only_logged(
    run: Path, config: TektonConfig, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "config.new").mkdir()

    LastConfig(run).keep(config)

    assert "cannot be written" in caplog.text


def test_the_end_of_the_run_leaves_nothing(run: Path, config: TektonConfig) -> None:
    LastConfig(run).keep(config)
    LastConfig(run).discard()
    LastConfig(run).discard()

    assert not (run / "config.json").exists()
