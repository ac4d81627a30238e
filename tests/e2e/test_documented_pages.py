"""Every line that the documentation tells a reader to type is typed, page by page, in a real system.

A page is read from top to bottom in one shell, in a home directory of its own with a small system in it. What goes on
until Ctrl-C runs in another window, and gets its Ctrl-C at the end of the section. Before a block a system runs, unless
the block begins one. Ports and places that are not ours are replaced, `curl` fails when the answer is an error, and a
question is answered with yes: nothing else differs from what stands there. Lines that a test cannot run are in NOT_RUN.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import psutil
import pytest
from load_script import load_script

from tekton.cli.examples import EXAMPLES
from tekton.testing import free_port

Eventually = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
TOOLS = ("bash", "curl", "make", "node", "perl")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not all(map(which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


shell_lines = load_script(ROOT / "tests" / "docs" / "shell_lines.py")

_ALREADY = "it is what runs this test"
_INDEX = "it installs from an index, which a test does not reach"
_BENCH = "it measures for minutes, with peers that are installed for it"
_ENGINE = "there is no container engine; tests/deploy/image.py does the same without one"
_CLUSTER = "there is no cluster; tests/deploy/image.py does what a kubelet would"
_MACHINE = "it changes the machine"
_NOBODY = "nobody is there to show a card"
_NIGHTLY = "it needs a nightly Rust, and takes minutes"

NOT_RUN = {
    "git clone https://github.com/tekton-core/tekton && cd tekton": "it is what is tested",
    ". .venv/bin/activate": _ALREADY,
    "make test": _ALREADY,
    "make build && .venv/bin/python -m pytest tests/core/test_dependency.py": _ALREADY,
    "make lint": "continuous integration runs it beside the suite",
    "make format": "it changes the sources",
    "make mutants": "it takes an hour",
    "make bench": _BENCH,
    "make fuzz": "continuous integration runs it beside the suite",
    "make docs": "continuous integration runs it beside the suite",
    "make lock": _INDEX,
    'make lock COOLDOWN="0 days"': _INDEX,
    "make audit": "it asks an index for known weaknesses",
    "make sbom": _INDEX,
    "make notices": "it changes the sources; `make lint` compares",
    "make recording": "it changes the sources, and needs the ports of the example system",
    "make release VERSION=1.2.3": "it is everything that continuous integration runs, and more",
    "make test-wheel": "it builds, with tools from an index",
    "python docs/site/readme_figures.py": "it changes the sources; tests/docs/test_readme.py compares",
    "python docs/site/capacity_figures.py": "it changes the sources; tests/docs/test_readme.py compares",
    "python tests/docs/errors_page.py": "it changes the sources; tests/docs compares",
    "python benches/NAME.py --help": _BENCH,
    "python benches/run.py --only store,startup": _BENCH,
    "cargo bench": _BENCH,
    "cargo bench -p tekton-kernel": _BENCH,
    "cargo install cargo-fuzz": _INDEX,
    "cd rust/fuzz && cargo +nightly fuzz run --fuzz-dir . table -- -max_total_time=600": _NIGHTLY,
    "MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p tekton-kernel --lib": _NIGHTLY,
    "pip install tekton-core": _INDEX,
    "pip install 'tekton-core[a2a]'": _INDEX,
    "pip install 'tekton-core[mdns]'": _INDEX,
    "pip install 'tekton-core[import]'": _INDEX,
    "pip install 'tekton-core[otel]'": _INDEX,
    "make wheel": "it builds for a minute, and is tried by `make test-wheel`",
    "make sdist": "it is tried by `make test-wheel`",
    "make test-image": "it builds for a minute",
    "docker build --file deploy/docker/Dockerfile --tag tekton/core .": _ENGINE,
    "docker run --detach --name tekton --publish 127.0.0.1:8010:8010 --volume tekton-data:/data --read-only "
    "--tmpfs /tmp tekton/core": _ENGINE,
    "docker exec tekton tekton auth token": _ENGINE,
    "docker compose --file deploy/compose.yaml up --build --detach --wait": _ENGINE,
    "docker compose --file deploy/compose.yaml exec tekton-core tekton ps": _ENGINE,
    "kubectl apply -k deploy/kubernetes/overlays/development": _CLUSTER,
    "kubectl exec deploy/tekton-core -- tekton doctor": _CLUSTER,
    "kubectl exec deploy/tekton-core -- tekton auth key create --subject engram --role component "
    "| kubectl create secret generic engram-credential --from-file=key=/dev/stdin": _CLUSTER,
    "kubectl apply -k kubernetes": _CLUSTER,
    "kubectl delete -k deploy/kubernetes/overlays/development": _CLUSTER,
    "kubectl rollout status deploy/tekton-core --timeout 2m": _CLUSTER,
    "kubectl rollout status deploy/engram --timeout 2m": _CLUSTER,
    "kind load docker-image tekton/core:latest": _CLUSTER,
    "docker build --tag orders:latest . && kind load docker-image orders:latest": _CLUSTER,
    "sudo useradd --system --home-dir /var/lib/tekton --shell /usr/sbin/nologin tekton": _MACHINE,
    "sudo install -m 644 demo.service /etc/systemd/system/": _MACHINE,
    "sudo systemctl daemon-reload": _MACHINE,
    "sudo systemctl enable --now demo": _MACHINE,
    "sudo -u tekton /opt/tekton/bin/tekton ps": _MACHINE,
    "cargo mutants": "the name of a program",
    "tekton agent register translator https://agents.example/translator": _NOBODY,
    "tekton agent register reviewer https://agents.example/reviewer --credential token.txt": _NOBODY,
    "python -m tekton": "the name of a program: it wants a verb",
    "curl -d": "the name of an option",
    "tekton ps --at 10:31": "there was no system then; tests/e2e/test_history.py asks about a time when there was one",
}
"""Commands without their comments, and why no test runs them. What `--help` shows is compared in tests/cli."""

_BILLING = "5f0c2d7e-2a5e-4a63-9d0a-0c6f0f3a9b11"
_REGISTERED = (
    "curl -s localhost:8010/api/components -H 'content-type: application/json' "
    f"""-d '{{"component_id": "billing", "instance_uuid": "{_BILLING}", "capabilities": ["invoicing"]}}'"""
)
BEFORE = {
    ("docs/reference/audit.md", "tekton audit --since 1h"): ["tekton restart hermes"],
    ("docs/reference/http-api.md", "curl -s localhost:8010/api/components/billing"): [
        "tekton run --name billing -d -- sleep 1000000"
    ],
    ("docs/reference/http-api.md", "curl -s -X DELETE"): ["tekton rm billing", _REGISTERED],
    ("examples/code_review/README.md", "cat data/steps.txt"): ["until [ -s data/steps.txt ]; do sleep 0.1; done"],
    ("docs/reference/http-api.md", "curl -s localhost:8010/api/components/billing/instances"): [_REGISTERED],
}
"""What the reader of a page has done before the line that begins so, without being told there."""

_DRILL = """curl -s localhost:8002/api/jobs -H 'content-type: application/json' -d '{"kind": "riff", "words": 3"""
SHOWS = {
    ("README.md", "tekton events"): "engram .*killed by signal 9",
    ("README.md", "tekton why greeter"): "greeter is ready",
    ("docs/reference/audit.md", "tekton audit --since 1h"): r"owner +component\.restart +hermes +done",
    ("docs/drill.md", _DRILL): r'"state":"done","result":"(?!\[small\])\w',
    ("examples/system/README.md", "tekton events"): "rhetor .*killed by signal 9",
}
"""What the line shows, if not at once, when it is typed again; what stands there is of another system."""


class GoesOn(NamedTuple):
    """A command that goes on until Ctrl-C: what it has said when it has begun, and when Ctrl-C comes."""

    pattern: str
    said: str
    stays: bool = False
    meanwhile: str = ""


GOES_ON = (
    GoesOn(r"\b(make|tekton) up\b(?!.* (-d|--detach)\b)", "Ctrl-C stops everything", stays=True),
    GoesOn(r"\btekton run\b(?!.* (-d|--detach)\b)", "listening", stays=True),
    GoesOn(r"\b(python3?|node) \w+\.(py|mjs)$", "ready after|listening"),
    GoesOn(r"\btekton logs\b.* -f\b", "."),
    GoesOn(r"\btekton events\b.* -f\b", "hermes", meanwhile="tekton restart hermes"),
    GoesOn(r"\btekton msg watch\b(?!.* -n\b)", "event from owner", meanwhile="tekton msg send billing.note hello"),
    GoesOn(r"\bcurl\b.* -\w*N\b", "event: snapshot"),
)
VALUES = {"NAME": "hermes", "FILE": "Procfile", "CODE": "start_timeout", "DIR": ".other", "BACKUP": "monday.db"}
"""What a test takes for a word that a command in the prose leaves open."""
_USES = re.compile(r"\btekton\s|\bcurl\b|\bmake up\b|localhost")
_BEGINS = re.compile(r"\btekton (up|init)\b|\bmake up\b")
_HELP = re.compile(r"tekton( [a-z][\w-]*)* --help")

SERVER = """\
require("node:http").createServer((_, response) => response.end("ok")).listen(process.env.PORT, "127.0.0.1",
    () => console.log("listening"));
"""
CURL = """\
curl() {
    for word in "$@"; do case $word in --fail*|-f*|-[!-]*f*) command curl "$@"; return ;; esac; done
    command curl --fail-with-body "$@"
}
"""
# Whoever runs the tests in the background may have had SIGINT ignored, and bash cannot take that back.
BASH = """\
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", "--noprofile", "--norc"])
"""
IDLE = {"command": ["sleep", "1000000"]}
COMPONENTS: dict[str, Any] = {
    "hermes": {"command": ["sh", "-c", "while :; do echo tick; sleep 0.2; done"], "groups": ["tools"]},
    "engram": IDLE,
    "rhetor": {**IDLE, "dependencies": ["hermes"], "capabilities": ["chat"]},
    "store": IDLE,
    "worker": {**IDLE, "replicas": 2},
    "trainer": {**IDLE, "profiles": ["gpu"]},
}


BUILT_OF = ("Makefile", "pyproject.toml", "Cargo.toml", "Cargo.lock", "requirements-dev.txt", "deploy/requirements.txt")
"""What `make` looks at to see whether there is something to build."""


class Home:
    """The home directory of a reader: a small system, the examples, and what `make up` needs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ports: dict[str, str] = {}
        (directory / "components.json").write_text(json.dumps({"components": COMPONENTS}))
        (directory / "server.js").write_text(SERVER)
        (directory / "Procfile").write_text("web: sleep 1000\n")
        (directory / "mnt" / "copies").mkdir(parents=True)
        shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
        self._pretend_to_be_built()

    def _pretend_to_be_built(self) -> None:
        binaries = Path(sys.executable).parent
        (self.directory / "deploy").mkdir()
        for name in BUILT_OF:
            shutil.copy2(ROOT / name, self.directory / name)
        (self.directory / "rust").mkdir()
        (self.directory / ".venv").mkdir()
        (self.directory / ".venv" / "bin").symlink_to(binaries)
        for name in (".created", ".built"):
            (self.directory / ".venv" / name).touch()

    def environment(self) -> dict[str, str]:
        path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEKTON_", "MAKE"))}
        services: dict[str, Any] = {}
        for example in ("system", "orders"):
            services |= json.loads((ROOT / "examples" / example / "components.json").read_text())["components"]
        ports = {f"{name.upper()}_PORT": self._port(str(spec["port"])) for name, spec in services.items()}
        ports["TEKTON_PORT"] = self._port("8010")
        return {**kept, **ports, "PATH": os.pathsep.join(path), "HOME": str(self.directory), "NO_COLOR": "1"}

    def ours(self, line: str) -> str:
        """*line*, with ports and places that are ours."""
        line = line.replace("/mnt/", f"{self.directory}/mnt/")
        line = line.replace("/var/lib/tekton", f"{self.directory}/.tekton/data")
        line = re.sub(r"(?<=PORT=|port |host:|.0.1:|rver )\d{4,5}\b", lambda number: self._port(number[0]), line)
        return re.sub(r"^(tekton restore .*)$", r"\1 --yes", line)

    def _port(self, number: str) -> str:
        """A free port in the place of *number*, always the same one."""
        if number not in self._ports:
            self._ports[number] = str(free_port())
        return self._ports[number]

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.directory):
                    process.kill()


class Window(NamedTuple):
    """Where something goes on: its process group, what it prints, what was typed."""

    pid: int
    output: Path
    line: str


class Terminal:
    """A shell in which one line is typed after another; what goes on, goes on in windows beside it."""

    def __init__(self, home: Home, eventually: Eventually) -> None:
        self.home = home
        self._eventually = eventually
        self._count = 0
        self._windows: list[Window] = []
        self._shell = subprocess.Popen(
            [sys.executable, "-ISc", BASH],
            cwd=home.directory,
            env=home.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.type(CURL)

    def type(self, line: str) -> str:
        """The output of *line*, which ends well."""
        status, output = self.try_(line)
        assert status == 0, f"$ {line}\n{output}(exit status {status})"
        return output

    def try_(self, line: str) -> tuple[int, str]:
        """Exit status and output of *line*."""
        file = self._file()
        status = self._ask(f"{{ {self.home.ours(line)}\n}} >{file} 2>&1 </dev/null; echo $?", line)
        return status, file.read_text()

    def go_on(self, line: str, how: GoesOn) -> None:
        """Let *line* go on in another window: until Ctrl-C, or until `interrupt` if it stays."""
        file = self._file()
        started = f"set -m; {{ {self.home.ours(line)}\n}} >{file} 2>&1 </dev/null & set +m; echo $!"
        window = Window(self._ask(started, line), file, line)
        self._windows.append(window)

        def begun() -> bool:
            if how.meanwhile:
                self.type(how.meanwhile)
            assert psutil.pid_exists(window.pid), f"$ {line}\n{file.read_text()}(it has ended)"
            return re.search(how.said, file.read_text()) is not None

        self._eventually(begun, f"{how.said!r} of {line}", PATIENCE)
        if not how.stays:
            self._interrupt(self._windows.pop())

    def interrupt(self) -> None:
        """Press Ctrl-C in all windows, the newest first."""
        while self._windows:
            self._interrupt(self._windows.pop())

    def close(self) -> None:
        assert self._shell.stdin is not None
        self._shell.kill()
        self._shell.communicate()

    def _interrupt(self, window: Window) -> None:
        self._say(f"wait {window.pid}; echo $?")
        # A program that is about to wait for something may miss the first one.
        for _ in range(3):
            with suppress(ProcessLookupError):
                os.killpg(window.pid, signal.SIGINT)
            if self._answers(PATIENCE / 3):
                break
        status = self._hear(window.line)
        assert status in (0, 128 + signal.SIGINT), f"$ {window.line}\n{window.output.read_text()}({status})"

    def _file(self) -> Path:
        self._count += 1
        file = self.home.directory / f"output-{self._count}"
        file.touch()
        return file

    def _ask(self, script: str, line: str) -> int:
        self._say(script)
        return self._hear(line)

    def _say(self, script: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{script}\n".encode())
        self._shell.stdin.flush()

    def _answers(self, patience: float) -> bool:
        return bool(select.select([self._shell.stdout], [], [], patience)[0])

    def _hear(self, line: str) -> int:
        assert self._answers(PATIENCE), f"$ {line}\nhas not ended. If it goes on until Ctrl-C, name it in GOES_ON."
        assert self._shell.stdout is not None
        answer = self._shell.stdout.readline().decode().strip()
        assert answer.isdecimal(), f"$ {line}\n{answer}"
        return int(answer)


def plain(line: str) -> str:
    """*line* without its comment."""
    return re.sub(r"\s+#[^'\"]*$", "", line)


def is_run(line: str) -> bool:
    return plain(line) not in NOT_RUN and not _HELP.fullmatch(plain(line))


def typed(terminal: Terminal, line: str) -> str:
    """Type *line*; its output, empty when it goes on."""
    how = next((how for how in GOES_ON if re.search(how.pattern, plain(line))), None)
    if how is None:
        return terminal.type(line)
    terminal.go_on(line, how)
    return ""


def prepare(terminal: Terminal, lines: list[str]) -> None:
    """Let a system run, or none, as *lines*, of one block, want it."""
    first = next(filter(_USES.search, lines), None)
    if first is not None and _BEGINS.search(first):
        terminal.type("tekton down")
    elif first is not None and terminal.try_("tekton ps")[0] != 0:
        terminal.type("tekton up -d")


def read(page: Path, terminal: Terminal, eventually: Eventually) -> None:
    """Type what stands on *page*."""
    block = None
    for command in shell_lines.typed_on(page):
        if not is_run(command.text):
            continue
        if block is not None and block.section != command.block.section:
            terminal.interrupt()
        if block != command.block:
            block = command.block
            prepare(terminal, [one.text for one in shell_lines.commands(block) if is_run(one.text)])
        for line in _of(BEFORE, command) or ():
            terminal.type(line)
        output = typed(terminal, command.text)
        if shows := _of(SHOWS, command):
            eventually(lambda: re.search(shows, terminal.type(command.text)), f"{command} shows {shows}")  # noqa: B023
        else:
            assert re.search(shell_lines.loosely(command.shown), output, re.DOTALL), f"{command}\n{output}"
    terminal.interrupt()


def _of(table: dict[tuple[str, str], Any], command: Any) -> Any:
    """What *table* has for this line: of several beginnings the longest."""
    here = [start for page, start in table if page == command.block.page and plain(command.text).startswith(start)]
    return table[command.block.page, max(here, key=len)] if here else None


TYPED_ELSEWHERE = frozenset({"docs/tutorial.md"})
"""Pages that a test of their own types: test_first_five_minutes, from an installed wheel."""
PAGES = [
    page
    for page in shell_lines.PAGES
    if shell_lines.name_of(page) not in TYPED_ELSEWHERE
    and any(is_run(command.text) for command in shell_lines.typed_on(page))
]
MENTIONED = {
    span: page
    for page in shell_lines.PAGES
    for span in shell_lines.in_prose(page.read_text())
    if span not in {line for examples in EXAMPLES.values() for line, _ in examples}
}
"""Commands in the prose, except those that are examples of a help text: test_documented_commands runs them."""


@pytest.fixture
def terminal(tmp_path: Path, eventually: Eventually) -> Iterator[Terminal]:
    home = Home(tmp_path)
    terminal = Terminal(home, eventually)
    yield terminal
    home.end()
    terminal.close()


@pytest.mark.parametrize("page", PAGES, ids=shell_lines.name_of)
def test_what_a_page_says_to_type_works(page: Path, terminal: Terminal, eventually: Eventually) -> None:
    read(page, terminal, eventually)


def test_a_command_that_the_prose_names_works(terminal: Terminal) -> None:
    lines = [(span, page) for span, page in MENTIONED.items() if is_run(span) and "make up" not in span]
    terminal.type("tekton up -d")
    terminal.type(f"tekton backup {VALUES['BACKUP']}")
    for span, page in sorted(lines, key=lambda line: bool(_BEGINS.search(line[0]))):
        _provide(terminal.home.directory, span, page)
        terminal.type(f"cd ~/{_folder(page)}")
        if _BEGINS.search(span) and "--data-dir" not in span:
            terminal.type("tekton down")
        typed(terminal, _filled(span))
        terminal.interrupt()


def _filled(span: str) -> str:
    """*span*, with something for what it leaves open."""
    return re.sub(rf"\b({'|'.join(VALUES)})\b(\.\.\.)?", lambda name: VALUES[name[1]], span)


def _provide(directory: Path, span: str, page: Path) -> None:
    """The program that *span* runs, from a block of *page* if it is no file of the example."""
    program = re.fullmatch(r"python (\w+)\.py", span)
    if program is not None:
        texts = [block.text for block in shell_lines.fenced(page.read_text())]
        source = next(text for text in texts if f'Component("{program[1]}"' in text)
        (directory / _folder(page) / f"{program[1]}.py").write_text(source)


def _folder(page: Path) -> Path:
    """Where a reader of *page* is, in the home directory."""
    return page.parent.relative_to(ROOT) if page.is_relative_to(ROOT / "examples") else Path()


def test_no_table_has_an_entry_that_nothing_matches() -> None:
    commands = [command for page in shell_lines.PAGES for command in shell_lines.typed_on(page)]
    lines = {plain(command.text) for command in commands} | set(MENTIONED)

    assert [line for line in NOT_RUN if line not in lines] == []
    assert [how.pattern for how in GOES_ON if not any(re.search(how.pattern, line) for line in lines)] == []
    for table in (BEFORE, SHOWS):
        used = {key for key in table for command in commands if _of({key: True}, command)}
        assert used == set(table)
