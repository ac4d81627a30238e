import subprocess
import sys
from pathlib import Path

from tekton.testing.control_plane import InMemoryControlPlane

TESTS = """
import asyncio

from tekton import Component


def test_an_hour_passes(virtual_time):
    assert virtual_time(asyncio.sleep(3600, "done")) == "done"


async def test_it_registers(control_plane):
    async with Component("greeter", control_plane=control_plane.address):
        record = await control_plane.registry.wait_until("greeter", lambda known: known is not None and known.usable)
        assert record.component_id == "greeter"
"""


def test_the_fixtures_are_there_for_those_who_ask_for_them(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tekton.testing.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert "2 passed" in result.stdout, result.stdout + result.stderr


async def test_a_control_plane_in_memory_runs_nothing() -> None:
    async with InMemoryControlPlane() as plane:
        assert not plane.runs("anything")
        assert not plane.knows("anything")
        assert plane.nearest("anything") is None
