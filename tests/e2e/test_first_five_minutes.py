"""The first five minutes with Tekton, from an installed wheel, each step as a user types it.

The wheel is the one that TEKTON_WHEEL names, else it is built. It is installed into a virtual environment of its own,
without the sources beside it; dependencies are those of the environment that runs the tests, so no network is needed.
"""

import json
import os
import shlex
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

from tekton.testing import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

GREETER = """\
import tekton
app = tekton.Component("polyglot", capabilities=["translate"])
@app.tool
async def translate(text: str) -> str:
    "Translate into German."
    return {"hello": "hallo"}[text]
app.run()
"""

SERVER = """\
const http = require("node:http");
http.createServer((request, response) => response.end("ok")).listen(process.env.PORT, "127.0.0.1");
"""

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
    """A folder in which commands are typed. What runs in the background is ended at last."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEKTON_", "PYTHON"))}
        path = f"{binaries}{os.pathsep}{kept.get('PATH', os.defpath)}"
        self.environment = {**kept, "PATH": path, "HOME": str(directory), "NO_COLOR": "1"}
        self.directory = directory
        self._background: list[subprocess.Popen[str]] = []

    def cd(self, name: str) -> None:
        self.directory /= name

    def type(self, line: str, *, status: int = 0) -> str:
        """The output of a command, which ends with *status*."""
        done = subprocess.run(
            shlex.split(line),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def begin(self, line: str, output: str) -> "subprocess.Popen[str]":
        """Run a command in another window, its output in the file *output*."""
        with (self.directory / output).open("w") as file:
            process = subprocess.Popen(
                shlex.split(line), cwd=self.directory, env=self.environment, stdout=file, stderr=file, text=True
            )
        self._background.append(process)
        return process

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def curl(self, rest: str) -> Any:
        socket_path = "--unix-socket .tekton/run/control.sock -H 'content-type: application/json'"
        return json.loads(self.type(f"curl --silent --fail-with-body {socket_path} {rest}") or "null")

    def component(self, component_id: str) -> dict[str, Any]:
        components = json.loads(self.type("tekton ps -o json"))["components"]
        return next((view for view in components if view["component_id"] == component_id), {"state": None})

    def state(self, component_id: str) -> str | None:
        state: str | None = self.component(component_id)["state"]
        return state

    def close(self) -> None:
        for process in self._background:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def terminal(binaries: Path, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(binaries, tmp_path)
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
@pytest.mark.skipif(which("curl") is None, reason="needs curl")
def test_the_first_five_minutes(terminal: Terminal, eventually: Eventually[Any]) -> None:
    # A small system, written and started.
    terminal.type("tekton init demo")
    terminal.cd("demo")
    terminal.type("tekton up -d")
    assert "2 components: 2 ready" in terminal.type("tekton ps")
    assert str(ROOT) not in terminal.type("python -c 'import tekton; print(tekton.__file__)'")

    # A component of one's own, in seven lines.
    terminal.write("polyglot.py", GREETER)
    polyglot = terminal.begin("python polyglot.py", "polyglot.log")
    eventually(lambda: terminal.state("polyglot") == "ready", f"ready: {terminal.read('polyglot.log')}")
    (offered,) = terminal.curl("http://localhost/api/capabilities/translate/components")["items"]
    said = terminal.type(f'curl -s {offered["endpoint"]}/api/tools/translate --json \'{{"text": "hello"}}\'')
    assert json.loads(said) == {"result": "hallo"}

    # Any program, wrapped; it needs another component.
    terminal.write("server.js", SERVER)
    port = free_port()
    program = "node server.js" if which("node") else f"python -m http.server {port} --bind 127.0.0.1"
    ready = "http:/healthz" if which("node") else "http:/"
    run = f"tekton run --name billing --port {port} --ready {ready} --needs greeter -- {program}"
    wrapped = terminal.begin(run, "billing.log")
    eventually(lambda: terminal.state("billing") == "ready", "billing is ready")

    # One that speaks HTTP only, watched from another window.
    watch = "curl -sN --unix-socket .tekton/run/control.sock http://localhost/events/components"
    terminal.begin(watch, "watch.log")
    eventually(lambda: "snapshot" in terminal.read("watch.log"), "the watch has begun")
    registered = terminal.curl('http://localhost/api/components --json \'{"component_id": "ledger"}\'')["component"]
    instance = {"instance_uuid": registered["instance_uuid"]}
    terminal.curl(
        "http://localhost/api/components --json "
        + shlex.quote(json.dumps({**instance, "component_id": "ledger", "capabilities": ["bookkeeping"]}))
    )
    for state in ("initializing", "starting"):
        body = shlex.quote(json.dumps({**instance, "state": state}))
        terminal.curl(f"-X PUT http://localhost/api/components/ledger/state --json {body}")
    terminal.curl(f"http://localhost/api/components/ledger/ready --json {shlex.quote(json.dumps(instance))}")
    (found,) = terminal.curl("http://localhost/api/capabilities/bookkeeping/components")["items"]
    assert (found["component_id"], found["state"]) == ("ledger", "ready")
    eventually(lambda: _watched(terminal.read("watch.log"), "ledger")[-1:] == ["ready"], "the watch has seen it all")
    assert _watched(terminal.read("watch.log"), "ledger")[-3:] == ["initializing", "starting", "ready"]

    # It is killed, comes back, and can tell why.
    first = terminal.component("billing")
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: terminal.component("billing")["pid"] not in (None, first["pid"]), "billing has a new process")
    eventually(lambda: terminal.state("billing") == "ready", "billing is ready again")
    assert _watched(terminal.read("watch.log"), "billing")[-5:] == [
        "failed", "registering", "initializing", "starting", "ready",
    ]  # fmt: skip
    story = terminal.type("tekton why billing")
    assert story.startswith("billing is ready")
    assert "killed by signal 9 (SIGKILL)" in story

    # One that crashes again and again is given up, and both say so.
    crash = "tekton run --name flaky --max-restarts 1 --detach -- python -c 'raise SystemExit(3)'"
    terminal.type(crash, status=1)
    eventually(lambda: "given up after 1 of 1" in terminal.type("tekton why flaky"), "flaky is given up")
    assert "exit 3" in terminal.type("tekton why flaky")
    assert "tekton why" in terminal.type("tekton explain component_failed")

    # And nothing is left.
    polyglot.send_signal(signal.SIGTERM)
    assert polyglot.wait(PATIENCE) == 0
    terminal.type("tekton down")
    wrapped.wait(PATIENCE)
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
