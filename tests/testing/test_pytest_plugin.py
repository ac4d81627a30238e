import subprocess
import sys
from pathlib import Path

from tekton.testing.control_plane import InMemoryControlPlane

FAULTS_AND_TIME = """
import asyncio


async def test_an_hour_passes(tekton_clock):
    before = tekton_clock.monotonic()
    await asyncio.sleep(3600)
    assert tekton_clock.monotonic() - before == 3600


class TestGreeter:
    async def test_it_comes_back(self, tekton_system, tekton_faults):
        tekton_system.add("greeter")
        await tekton_system.up()
        await tekton_faults.kill("greeter")
        await tekton_system.until("greeter", "ready")
"""

REAL = """
from tekton import Component


async def test_it_registers(tekton_control_plane):
    async with Component("greeter", control_plane=tekton_control_plane.address):
        record = await tekton_control_plane.registry.wait_until("greeter", lambda known: known and known.usable)
        assert record.component_id == "greeter"
"""

WITHOUT_TIME = """
def test_nobody_is_there_to_wait(tekton_system):
    pass
"""


AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


def run_pytest(directory: Path, tests: str, *options: str) -> str:
    (directory / "test_mine.py").write_text(tests)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(directory)]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=50, check=False)
    return result.stdout + result.stderr


def test_the_fixtures_are_there_wherever_tekton_is_installed(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, FAULTS_AND_TIME + REAL, *AUTO, "-W", "error")

    assert "3 passed" in output, output


def test_virtual_time_needs_no_other_plugin(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, FAULTS_AND_TIME, "-p", "no:asyncio", "-W", "error")

    assert "2 passed" in output, output


def test_a_test_that_cannot_wait_is_told_so(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, WITHOUT_TIME)

    assert "tekton_clock and tekton_system are for async tests" in output, output


async def test_a_control_plane_in_memory_runs_nothing() -> None:
    async with InMemoryControlPlane() as plane:
        assert not plane.runs("anything")
        assert not plane.knows("anything")
        assert plane.nearest("anything") is None


def test_a_run_without_our_fixtures_pays_nothing_for_them() -> None:
    code = "import sys, tekton.testing.pytest_plugin; print([name for name in sys.modules if 'tekton.core' in name])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)

    assert result.stdout == "[]\n"
