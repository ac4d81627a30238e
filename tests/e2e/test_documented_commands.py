"""Every example in the help of a verb is run, as it stands there, in a small system of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tekton.cli.examples import EXAMPLES
from tekton.testing import free_port

PATIENCE = 60.0
FOLLOWS = (
    "attach",
    "top",
    "ps -w",
    "events -f",
    "logs -f",
    "run -- ",
    "msg watch 'orders.>'",
    "conversation show release-7 -f",
)
"""What goes on until somebody ends it."""
IDLE = {"command": ["sleep", "1000000"]}
LIBRARY = """\
import tekton
from tekton.bus.bus import Delivery
from tekton.mcp.message import Message

app = tekton.Component("library")

@app.subscribe("library.requests.>", queue="library")
async def find(message: Message) -> list[str]:
    return [message.content]

@app.consume("orders", "billing")
async def refuse(delivery: Delivery) -> None:
    await delivery.reject("no such customer")

app.run()
"""
"""Answers requests, and gets no order done."""
GREETER = """\
import tekton

app = tekton.Component("greeter")

@app.tool
def greet(name: str, excited: bool = False) -> str:
    return f"Hello, {name}" + ("!" if excited else ".")

app.run()
"""
REPORT = """\
import tekton

app = tekton.Component("report")

@app.tool
def write(year: int) -> str:
    return f"All was well in {year}."

app.run()
"""
REVIEW = """\
import tekton
from tekton.a2a.task_steps import TaskContext

app = tekton.Component("review")

@app.agent("reviewer", capabilities=["code_review"])
async def review(context: TaskContext, code: str = "") -> object:
    return await context.ask("Which branch?") if code == "ask" else len(code)

app.run()
"""
PROGRAMS = {"library.py": LIBRARY, "greeter.py": GREETER, "report.py": REPORT, "review.py": REVIEW}
# Whoever runs the tests in the background may have had SIGINT ignored, and bash cannot take that back.
BASH = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", "-o", "pipefail", "-c", sys.argv[1]])
"""


def typed(verb: str) -> list[str]:
    return [line for line, _ in EXAMPLES[verb]]


BESIDE = [line for verb in EXAMPLES for line in typed(verb) if verb.split()[0] in
          ("config", "import", "generate", "completion", "explain")]  # fmt: skip
ENDS = [line for verb in ("restore", "down", "up", "init") for line in typed(verb)]
RUNNING = [
    line for verb in EXAMPLES for line in typed(verb) if verb != "status" and line not in BESIDE and line not in ENDS
]


class Shell:
    """A folder with a system in it, and a shell."""

    def __init__(self, directory: Path, port: int, free: int) -> None:
        self.directory = directory
        self._port = port
        self._free = free
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}
        self.environment = {**kept, "PATH": path, "HOME": str(directory), "NO_COLOR": "1"}

    def begin(self, line: str) -> "subprocess.Popen[str]":
        """Run *line*, with the places, and a time, that are ours for those that it names."""
        line = line.replace("/mnt/backups", str(self.directory)).replace(":8010/", f":{self._port}/")
        line = line.replace("--port 9100", f"--port {self._free}").replace("--at 10:31", "--at -0s")
        return subprocess.Popen(
            [sys.executable, "-ISc", BASH, line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, line: str) -> str:
        """The output of *line*, which ends well."""
        process = self.begin(line)
        output = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, f"$ {line}\n{output}"
        return output

    def interrupt(self, line: str, after: str) -> None:
        """Run *line* until it has said *after*, then press Ctrl-C; it ends, and not by failing."""
        process = self.begin(line)
        assert process.stdout is not None
        said = ""
        while after not in said:
            piece = process.stdout.readline()
            assert piece, f"$ {line}\n{said}"
            said += piece
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=PATIENCE)[0]
        # 141: of a pipe, the reader may be gone before who writes has heard of it.
        assert process.returncode in (0, 130, 141, -signal.SIGINT), f"$ {line}\n{said}{output}"

    def follow(self, line: str, *, by: str, until: str) -> None:
        """Run *line*, and *by* beside it, again if need be, until it has said *until*; then press Ctrl-C."""
        seen = self.directory / "seen"
        seen.write_text("")  # what an earlier line has said is not of this one, which may take a while to begin
        process = self.begin(f"{line} > {seen} 2>&1")
        for _ in range(20):
            self.run(by)
            if until in seen.read_text():
                break
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert until in seen.read_text(), line


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    port = free_port()
    components: dict[str, Any] = {
        "hermes": {"command": ["sh", "-c", "while :; do echo tick; sleep 0.2; done"], "groups": ["tools"]},
        "engram": IDLE,
        "rhetor": {**IDLE, "dependencies": ["hermes"], "capabilities": ["chat"]},
        "worker": {**IDLE, "replicas": 2},
        "trainer": {**IDLE, "profiles": ["gpu"]},
    }
    (tmp_path / "deploy").mkdir()
    for folder in (tmp_path, tmp_path / "deploy"):
        streams = {"orders": {"subjects": ["orders.>"]}}
        main = {"data_dir": ".tekton", "port": port, "bus": {"streams": streams}}
        (folder / "tekton.json").write_text(json.dumps({"tekton": main}))
        (folder / "components.json").write_text(json.dumps({"components": components}))
    (tmp_path / "docker-compose.yml").write_text("services:\n  web:\n    command: sleep 1000\n")
    (tmp_path / "jobs.yml").write_text("processes:\n  web:\n    command: sleep 1000\n")
    (tmp_path / "Procfile").write_text("web: sleep 1000\n")
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    (tmp_path / "server.js").write_text(
        'require("node:http").createServer((_, response) => response.end("ok")).listen(process.env.PORT || 0);'
        'console.log("listening");'
    )
    (tmp_path / "worker-script").write_text("")
    shell = Shell(tmp_path, port, free_port())
    yield shell
    subprocess.run(["tekton", "down"], cwd=tmp_path, env=shell.environment, check=False, capture_output=True)


def test_every_example_has_its_turn() -> None:
    assert {*BESIDE, *RUNNING, *ENDS} == {line for verb in EXAMPLES for line in typed(verb)}


@pytest.mark.parametrize("line", BESIDE)
def test_an_example_that_needs_no_system_runs(shell: Shell, line: str) -> None:
    if "Procfile -o components.json" in line:
        (shell.directory / "components.json").unlink()
    if "yml" in line:
        pytest.importorskip("yaml")
    shell.run(line)


def new_key(shell: Shell) -> str:
    """The id of a key of somebody who has no other."""
    subject = f"somebody-{free_port()}"
    return str(json.loads(shell.run(f"tekton auth key create --subject {subject} --role monitor -o json"))["id"])


def task_for(shell: Shell, line: str) -> str:
    """The end of the id of a task with which can be done what *line* does."""
    verb = line.split()[2]
    if verb not in ("answer", "cancel", "retry"):
        return str(json.loads(shell.run("tekton task run code_review code=x -q -o json"))["task_id"][-8:])
    task = shell.run("tekton task run code_review code=ask --no-wait").strip()[-8:]
    for _ in range(100):
        if json.loads(shell.run(f"tekton task show {task} -o json"))["question"]:
            break
    if verb == "retry":
        shell.run(f"tekton task cancel {task}")
    return task


SHOWS = {"run": "listening", "ps": "COMPONENT", "top": "COMPONENT", "logs": "tick", "conversation": "release-7"}
"""What a verb that goes on by itself shows first."""


@pytest.mark.timeout(300)
@pytest.mark.skipif(which("node") is None or which("curl") is None, reason="needs node and curl")
def test_the_examples_run_in_a_system(shell: Shell) -> None:
    shell.run("tekton up -d")
    shell.run("tekton run --name billing -d -- sleep 1000000")
    (shell.directory / "worker").write_text("#!/bin/sh\nexec sleep 1000000\n")
    (shell.directory / "worker").chmod(0o755)
    for name, program in PROGRAMS.items():
        (shell.directory / name).write_text(program)
        shell.run(f"tekton run --port {free_port()} --ready http:/api/ready -d -- {sys.executable} {name}")
    (shell.directory / "arguments.json").write_text('{"name": "Ada"}')
    (shell.directory / "token.txt").write_text("a-secret")
    for example in RUNNING:
        line = example.replace("Zk3vQ9pLm2Xa", new_key(shell)) if "Zk3vQ9pLm2Xa" in example else example
        line = line.replace("resend 17", "resend 1")
        if "08d591ba" in line:
            line = line.replace("08d591ba", task_for(shell, line))
        if "hermes" in line:
            # The example before has killed or stopped it, perhaps.
            shell.run("tekton start hermes")
        type_one(shell, line)


def type_one(shell: Shell, line: str) -> None:
    """Type *line* into a running system, and end it if it goes on by itself."""
    if "--name worker" in line:
        # The system of this test has a worker already.
        shell.run(line.replace("--name worker", "--name another -d"))
    elif line == "tekton task watch":
        shell.interrupt(line, "code_review")
    elif line == "tekton top" or not any(line.startswith(f"tekton {start}") for start in FOLLOWS):
        shell.run(line)
    elif line.startswith("tekton msg"):
        shell.follow(line, by="tekton msg send orders.new 1", until="orders.new")
    else:
        verb = line.split()[1]
        if verb in SHOWS:
            shell.interrupt(line, SHOWS[verb])
        else:
            shell.follow(line, by="tekton restart engram", until="engram")


@pytest.mark.timeout(300)
def test_the_examples_of_the_beginning_and_the_end_run(shell: Shell) -> None:
    for line in typed("up"):
        if "-d" in line.split():
            shell.run(line)
            shell.run("tekton backup monday.db")
            for end in typed("down"):
                shell.run(end)
        else:
            shell.interrupt(line, "Ctrl-C")
    for line in typed("restore"):
        shell.run(f"{line} --yes")
    shell.run("tekton init demo")
    for line in typed("init")[1:]:
        (shell.directory / "empty").mkdir()
        shell.run(f"cd empty && {line}")
