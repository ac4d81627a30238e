"""docs/tutorial.md, read from top to bottom: programs are written and commands typed as they stand there, and what is
shown has to come.

Where that is done is a `Machine`: an environment on this one, or a root file system that has nothing else.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from load_script import load_script

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

shell_lines = load_script(ROOT / "tests" / "docs" / "shell_lines.py")
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
PORT = "9100"
"""The one port that the page names."""
INSTALL = re.compile(r"^pip install .*$", re.MULTILINE)
"""The line of the page that a machine has behind it."""

GOES_ON = {"python ": "is registered", r"tekton run (?!.*--detach)": "→ ready", "curl -sN ": "snapshot"}
"""What is typed in a terminal of its own and goes on there, and what it has said when it has begun."""
PROGRAM = re.compile(r"python (\w+)\.py$")
"""A component of the reader's own, by its name."""
STATUS = {"tekton run --name flaky": 1}
"""The exit status of what does not end well, by how it begins."""
LOOKS = re.compile(r"tekton (ps|why|task ls)\b")
"""What is typed again until it shows what it should."""

_T = TypeVar("_T")
Eventually = Callable[[Callable[[], _T], str], _T]


class Machine(Protocol):
    """Where the reader types: bash, with Tekton installed. `home` is where he begins, `port` what he has for PORT."""

    home: Path
    port: str

    def bash(self, line: str, directory: Path, output: IO[str] | int) -> subprocess.Popen[str]:
        """Begin *line* in *directory*. It is heard by SIGINT, and has no input."""

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Press Ctrl-C where *process*, of `bash`, is."""

    def outside(self, path: Path) -> Path:
        """Where we find the file that is *path* there."""

    def running(self) -> list[str]:
        """What still runs of all that was begun there."""


class Terminal:
    """A folder in which commands are typed. What goes on, goes on in the background, and is ended at last."""

    def __init__(self, machine: Machine, eventually: Eventually[Any]) -> None:
        self.directory = machine.home
        self.machine = machine
        self._eventually = eventually
        self._background: dict[str, subprocess.Popen[str]] = {}

    def follow(self, section: str) -> list[str]:
        """Do what the page says in *section*; the output of each block."""
        text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        return [self._do(block, _named_before(block, text)) for block in shell_lines.fenced(text)]

    def type(self, lines: str, *, status: int = 0) -> str:
        """What *lines* show, which end with *status*."""
        process = self.machine.bash(lines, self.directory, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == status, f"$ {lines}\n{output}(exit status {process.returncode})"
        return output

    def said(self, start: str) -> str:
        """What the command that begins so and goes on has printed."""
        return self.machine.outside(self.directory / _log(start)).read_text()

    def end(self, start: str) -> int:
        """The exit status of the command that begins so, after Ctrl-C."""
        process = next(process for line, process in self._background.items() if line.startswith(start))
        self.machine.interrupt(process)
        return process.wait(PATIENCE)

    def component(self, component_id: str) -> dict[str, Any]:
        """What `tekton ps` tells of a component; its `state` is None when it tells nothing."""
        components = json.loads(self.type("tekton ps -o json"))["components"]
        return next((view for view in components if view["component_id"] == component_id), {"state": None})

    def state(self, component_id: str) -> str | None:
        """The state of a component."""
        state: str | None = self.component(component_id)["state"]
        return state

    def close(self) -> None:
        """End what still goes on."""
        for process in self._background.values():
            process.terminate()
            process.wait(PATIENCE)

    def _do(self, block: Any, file: str) -> str:
        if block.language == "python":
            self.machine.outside(self.directory / file).write_text(block.text)
            return ""
        if block.prompted:
            return "".join(self._look(command) for command in shell_lines.commands(block))
        lines = [command.text.replace(PORT, self.machine.port) for command in shell_lines.commands(block)]
        if begun := next((said for start, said in GOES_ON.items() if re.match(start, lines[0])), ""):
            return self._begin(lines[0], begun)
        where = [line.removeprefix("cd ") for line in lines if line.startswith("cd ")]
        lines = [line for line in lines if not INSTALL.match(line)]
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
        with self.machine.outside(self.directory / _log(line)).open("w") as file:
            self._background[line] = self.machine.bash(f"exec {line}", self.directory, file)
        self._eventually(lambda: begun in self.said(line), f"{begun!r} of {line}")
        if program := PROGRAM.match(line):
            # It says so before it is ready, and others can ask for it.
            self._eventually(lambda: self.state(program[1]) == "ready", f"{program[1]} is ready")
        return ""


def first_five_minutes(terminal: Terminal, eventually: Eventually[Any]) -> None:
    """The whole page, and that what it says is so: nothing runs in the end."""
    terminal.follow("A system")

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
    again = ["failed", "registering", "initializing", "starting", "ready"]
    eventually(lambda: _watched(terminal.said("curl -sN"), "billing")[-5:] == again, "the watch has seen it come back")

    terminal.follow("An agent")
    (task,) = json.loads(terminal.type("tekton task ls -o json"))["items"]
    assert task["steps"] == ["hello", "world"]

    assert terminal.end("python polyglot.py") == 0
    assert terminal.end("python interpreter.py") == 0
    terminal.follow("The end")
    terminal.type("tekton ps", status=3)
    eventually(lambda: not terminal.machine.running(), f"nothing runs: {terminal.machine.running()}")


def _log(line: str) -> str:
    return f"{'-'.join(re.findall(r'[a-z]+', line)[:2])}.log"


def _named_before(block: Any, text: str) -> str:
    """The last file that is named before *block* in *text*."""
    names = re.findall(r"\*\*(\w+\.py)\*\*", "\n".join(text.splitlines()[: block.line]))
    return str(names[-1]) if names else ""


def _watched(stream: str, component_id: str) -> list[str]:
    """The states of a component that a watcher has seen."""
    seen = []
    for line in stream.splitlines():
        if line.startswith("data: {"):
            change = json.loads(line.removeprefix("data: "))
            if change.get("component_id") == component_id and change.get("kind") in ("registered", "state"):
                seen.append(change["state"])
    return seen
