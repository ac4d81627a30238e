"""A Debian with Python and curl in which somebody has typed `pip install tekton-core`: no compiler, no sources.

The package is the wheel, what it depends on comes from the index. Then this machine has no network any more, its root
file system cannot be written, and who types is a user with nothing but a home directory.
"""

import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
from pods import Pod, until
from rootfs import Image, build

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "helpers"))

from tutorial import INSTALL, PAGE, PORT, Terminal, first_five_minutes  # noqa: E402

READER = 1000
HOME = Path("/home/reader")
EXTENSION = "tekton/_native.abi3.so"
DOCKERFILE = """\
FROM debian
RUN useradd --uid {user} --create-home --home-dir {home} reader && python -m venv {home}/venv
ENV PATH={home}/venv/bin:$PATH NO_COLOR=1
RUN {install}
ENV HOME={home}
WORKDIR {home}
"""
NOT_THERE = """\
if command -v as cargo cc clang c++ g++ gcc ld make rustc tcc; then exit 1; fi
[ ! -e {sources} ]
[ -z "$(find / -xdev \\( -name '*.rs' -o -name Cargo.toml -o -name maturin \\) -print -quit 2>/dev/null)" ]
"""
PROCESS_ONE = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("here", flush=True)
while True: signal.pause()
"""
"""Reaps what others leave behind, and does nothing else."""


def install(cache: Path, place: Path, dist: Path) -> Image:
    """The machine, in which the page's line was typed that installs Tekton."""
    (line,) = INSTALL.findall(PAGE)
    context = place / "nothing"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(user=READER, home=HOME, install=line))
    image = build(context / "Dockerfile", context, cache, place / "machine", dist.resolve())
    (wheel,) = dist.glob("*.whl")
    (extension,) = image.root.glob(f".{HOME}/venv/lib/*/site-packages/{EXTENSION}")
    assert zipfile.ZipFile(wheel).read(EXTENSION) == extension.read_bytes(), "another package of that name"
    return image


def is_enough(image: Image, place: Path) -> str:
    """The installed package tries itself, and docs/tutorial.md is typed word for word, where there is nothing else."""
    with running(image, place) as machine:
        terminal = Terminal(machine, until)
        terminal.type(NOT_THERE.format(sources=shlex.quote(str(ROOT / "pyproject.toml"))))
        where = terminal.type("python -c 'import sys, tekton; print(sys.version.split()[0], tekton.__file__)'")
        version, _, imported = where.strip().partition(" ")
        assert Path(imported).is_relative_to(HOME / "venv"), imported
        tried = terminal.type("python -m tekton.testing.smoke").splitlines()
        assert [line for line in tried if not line.startswith("ok  ")] == []
        first_five_minutes(terminal, until)
    return (
        f"Python {version} without compiler and sources: {len(tried)} of {len(tried)} of the package's own smoke test, "
        "docs/tutorial.md word for word"
    )


class BareMachine:
    """A pod in which somebody types, and in which things go on after a command has ended."""

    home = HOME
    port = PORT

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    def bash(self, line: str, directory: Path, output: IO[str] | int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._pod.entering("bash", "-ec", line, directory=str(directory)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        # What we have started waits outside for the one that it has started inside.
        (inside,) = psutil.Process(process.pid).children()
        inside.send_signal(signal.SIGINT)

    def outside(self, path: Path) -> Path:
        return self._pod.image.root / path.relative_to("/")

    def running(self) -> list[str]:
        return [f"process {number}" for number in self._pod.processes() if number != 1]


@contextmanager
def running(image: Image, place: Path) -> Iterator[BareMachine]:
    """The machine while it runs. What is written into the home directory stays there."""
    home = {str(HOME): image.root / HOME.relative_to("/")}
    waits = ["python", "-c", PROCESS_ONE]
    pod = Pod(image, "", READER, home, place / "machine.log", written=list(home), groups=[READER], command=waits)
    pod.start()
    try:
        until(lambda: "here" in pod.said(), "the machine is there")
        yield BareMachine(pod)
    finally:
        pod.kill()
