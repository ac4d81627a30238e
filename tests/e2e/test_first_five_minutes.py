"""The first five minutes with Tekton, from an installed wheel: docs/tutorial.md, as a user reads it from top to bottom.

Programs are written and commands typed as they stand there, and what is shown has to come. The wheel is the one that
TEKTON_WHEEL names, else it is built. It is installed into a virtual environment of its own, without the sources beside
it; dependencies are those of the environment that runs the tests, so no network is needed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any, TypeVar

import psutil
import pytest
from load_script import load_script

from tekton.testing import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

shell_lines = load_script(ROOT / "tests" / "docs" / "shell_lines.py")
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
PORT = "9100"
"""The one port that the page names; a free one takes its place."""

GOES_ON = {"python ": "is registered", r"tekton run (?!.*--detach)": "→ ready", "curl -sN ": "snapshot"}
"""What is typed in a terminal of its own and goes on there, and what it has said when it has begun."""
STATUS = {"tekton run --name flaky": 1}
"""The exit status of what does not end well, by how it begins."""
LOOKS = re.compile(r"tekton (ps|why|task ls)\b")
"""What is typed again until it shows what it should."""

_T = TypeVar("_T")
Eventually = Callable[[Callable[[], _T], str], _T]


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


class Terminal:
    """A folder in which commands are typed. What goes on, goes on in the background, and is ended at last."""

    def __init__(self, binaries: Path, directory: Path, eventually: Eventually[Any]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEKTON_", "PYTHON"))}
        path = f"{binaries}{os.pathsep}{kept.get('PATH', os.defpath)}"
        self.environment = {**kept, "PATH": path, "HOME": str(directory), "NO_COLOR": "1"}
        self.directory = directory
        self._eventually = eventually
        self._port = str(free_port())
        self._background: dict[str, subprocess.Popen[str]] = {}

    def follow(self, section: str) -> list[str]:
        """Do what the page says in *section*; the output of each block."""
        text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        return [self._do(block, _named_before(block, text)) for block in shell_lines.fenced(text)]

    def type(self, lines: str, *, status: int = 0) -> str:
        """What *lines* show, which end with *status*."""
        done = subprocess.run(
            ["bash", "-ec", lines],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"$ {lines}\n{done.stdout}"
        return done.stdout

    def said(self, start: str) -> str:
        """What the command that begins so and goes on has printed."""
        return (self.directory / _log(start)).read_text()

    def end(self, start: str) -> int:
        """The exit status of the command that begins so, after Ctrl-C."""
        process = next(process for line, process in self._background.items() if line.startswith(start))
        process.send_signal(signal.SIGINT)
        return process.wait(PATIENCE)

    def component(self, component_id: str) -> dict[str, Any]:
        components = json.loads(self.type("tekton ps -o json"))["components"]
        return next((view for view in components if view["component_id"] == component_id), {"state": None})

    def state(self, component_id: str) -> str | None:
        state: str | None = self.component(component_id)["state"]
        return state

    def close(self) -> None:
        for process in self._background.values():
            process.terminate()
            process.wait(PATIENCE)

    def _do(self, block: Any, file: str) -> str:
        if block.language == "python":
            (self.directory / file).write_text(block.text)
            return ""
        if block.prompted:
            return "".join(self._look(command) for command in shell_lines.commands(block))
        lines = [command.text.replace(PORT, self._port) for command in shell_lines.commands(block)]
        if begun := next((said for start, said in GOES_ON.items() if re.match(start, lines[0])), ""):
            return self._begin(lines[0], begun)
        where = [line.removeprefix("cd ") for line in lines if line.startswith("cd ")]
        lines = [line for line in lines if not line.startswith("pip install ")]
        status = next((STATUS[start] for start in STATUS if lines[-1].startswith(start)), 0)
        output = self.type("\n".join(lines), status=status)
        self.directory = self.directory.joinpath(*where)
        return output

    def _look(self, command: Any) -> str:
        def shown() -> str:
            output = self.type(command.text)
            return output if re.search(shell_lines.loosely(command.shown), output, re.DOTALL) else ""

        if LOOKS.match(command.text):
            return str(self._eventually(shown, str(command)))
        output = shown()
        assert output, f"{command} shows something else"
        return output

    def _begin(self, line: str, begun: str) -> str:
        # Whoever runs the tests in the background may have had SIGINT ignored, and children inherit that.
        command = [sys.executable, "-ISc", _WITH_SIGINT, line]
        with (self.directory / _log(line)).open("w") as file:
            self._background[line] = subprocess.Popen(
                command, cwd=self.directory, env=self.environment, stdout=file, stderr=file, text=True
            )
        self._eventually(lambda: begun in self.said(line), f"{begun!r} of {line}")
        return ""


_WITH_SIGINT = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", "-ec", f"exec {sys.argv[1]}"])
"""


def _log(line: str) -> str:
    return f"{'-'.join(re.findall(r'[a-z]+', line)[:2])}.log"


def _named_before(block: Any, text: str) -> str:
    """The last file that is named before *block* in *text*."""
    names = re.findall(r"\*\*(\w+\.py)\*\*", "\n".join(text.splitlines()[: block.line]))
    return str(names[-1]) if names else ""


@pytest.fixture
def terminal(binaries: Path, tmp_path: Path, eventually: Eventually[Any]) -> Iterator[Terminal]:
    terminal = Terminal(binaries, tmp_path, eventually)
    yield terminal
    terminal.close()
    subprocess.run(["tekton", "down"], cwd=terminal.directory, env=terminal.environment, check=False)


def left_in(directory: Path) -> list[str]:
    """The commands of the processes that run in *directory* or below."""
    left = []
    for process in psutil.process_iter():
        try:
            here = Path(process.cwd())
            if here == directory or directory in here.parents or str(directory) in " ".join(process.cmdline()):
                left.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return left


@pytest.mark.timeout(600)
@pytest.mark.skipif(not (which("bash") and which("curl")), reason="needs bash and curl")
def test_the_first_five_minutes(terminal: Terminal, eventually: Eventually[Any]) -> None:
    terminal.follow("A system")
    assert str(ROOT) not in terminal.type("python -c 'import tekton; print(tekton.__file__)'")

    *_, said = terminal.follow("A component of your own")
    assert said == '"hallo"\n'

    terminal.follow("Any program")
    eventually(lambda: terminal.state("billing") == "ready", "billing is ready")

    *_, found = terminal.follow("Plain HTTP")
    (ledger,) = json.loads(found)["items"]
    assert (ledger["component_id"], ledger["state"]) == ("ledger", "ready")
    eventually(lambda: _watched(terminal.said("curl -sN"), "ledger")[-1:] == ["ready"], "the watch has seen it all")
    assert _watched(terminal.said("curl -sN"), "ledger")[-3:] == ["initializing", "starting", "ready"]

    first = terminal.component("billing")["pid"]
    terminal.follow("Something breaks")
    eventually(lambda: terminal.component("billing")["pid"] not in (None, first), "billing has a new process")
    eventually(lambda: terminal.state("billing") == "ready", "billing is ready again")
    assert _watched(terminal.said("curl -sN"), "billing")[-5:] == [
        "failed", "registering", "initializing", "starting", "ready",
    ]  # fmt: skip

    terminal.follow("An agent")
    (task,) = json.loads(terminal.type("tekton task ls -o json"))["items"]
    assert task["steps"] == ["hello", "world"]

    assert terminal.end("python polyglot.py") == 0
    assert terminal.end("python interpreter.py") == 0
    terminal.follow("The end")
    terminal.type("tekton ps", status=3)
    eventually(lambda: not left_in(terminal.directory), f"nothing runs: {left_in(terminal.directory)}")


def _watched(stream: str, component_id: str) -> list[str]:
    """The states of a component that a watcher has seen."""
    seen = []
    for line in stream.splitlines():
        if line.startswith("data: {"):
            change = json.loads(line.removeprefix("data: "))
            if change.get("component_id") == component_id and change.get("kind") in ("registered", "state"):
                seen.append(change["state"])
    return seen
