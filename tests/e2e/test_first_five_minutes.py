"""The first five minutes with Tekton, from an installed wheel: docs/tutorial.md, typed as it stands there.

The wheel is the one that TEKTON_WHEEL names, else it is built. It is installed into a virtual environment of its own,
without the sources beside it; dependencies are those of the environment that runs the tests, so no network is needed.
tests/deploy/bare_machine.py types the same where there is nothing else at all.
"""

import os
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import IO, Any

import psutil
import pytest
from tutorial import PATIENCE, ROOT, Eventually, Terminal, first_five_minutes

from tekton.testing import free_port


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the present sources."""
    if given := os.environ.get("TEKTON_WHEEL"):
        return Path(given)
    maturin = Path(sys.executable).with_name("maturin")
    if not maturin.exists():
        pytest.skip("no TEKTON_WHEEL, and no maturin to build one")
    directory = tmp_path_factory.mktemp("wheel")
    command = [maturin, "build", "--release", "--offline", "--out", directory]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(directory.glob("tekton_core-*.whl"))


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with Tekton in it."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, symlinks=True)
    (ours,) = directory.glob("lib/*/site-packages")
    # What a .pth file names is searched for modules, but its own .pth files (our editable install) are not read.
    (ours / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    install = [sys.executable, "-m", "pip", "--python", directory / "bin" / "python", "install"]
    subprocess.run([*install, "--quiet", "--no-index", "--no-deps", wheel], check=True)
    return directory / "bin"


class Environment:
    """This machine, with a home directory of its own and the commands in *binaries* before all others."""

    def __init__(self, binaries: Path, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEKTON_", "PYTHON"))}
        path = f"{binaries}{os.pathsep}{kept.get('PATH', os.defpath)}"
        self.home = home
        self.port = str(free_port())
        self._variables = {**kept, "PATH": path, "HOME": str(home), "NO_COLOR": "1"}

    def bash(self, line: str, directory: Path, output: IO[str] | int) -> subprocess.Popen[str]:
        # Whoever runs the tests in the background may have had SIGINT ignored, and children inherit that.
        return subprocess.Popen(
            [sys.executable, "-ISc", _WITH_SIGINT, line],
            cwd=directory,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)

    def outside(self, path: Path) -> Path:
        return path

    def running(self) -> list[str]:
        left = []
        for process in psutil.process_iter():
            try:
                here = Path(process.cwd())
                words = " ".join(process.cmdline())
            except (psutil.Error, OSError):
                continue
            if here == self.home or self.home in here.parents or str(self.home) in words:
                left.append(words)
        return left


_WITH_SIGINT = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", "-ec", sys.argv[1]])
"""


@pytest.fixture
def terminal(binaries: Path, tmp_path: Path, eventually: Eventually[Any]) -> Iterator[Terminal]:
    terminal = Terminal(Environment(binaries, tmp_path), eventually)
    yield terminal
    terminal.close()
    terminal.machine.bash("tekton down", terminal.directory, subprocess.DEVNULL).wait(PATIENCE)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not (which("bash") and which("curl")), reason="needs bash and curl")
def test_the_first_five_minutes(terminal: Terminal, eventually: Eventually[Any]) -> None:
    assert str(ROOT) not in terminal.type("python -c 'import tekton; print(tekton.__file__)'")

    first_five_minutes(terminal, eventually)
