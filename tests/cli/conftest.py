"""The command line against a control plane double that speaks real HTTP."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from load_script import load_script

from tekton.cli.app import cli
from tekton.cli.client import Client
from tekton.clock import SYSTEM_CLOCK

Tekton = Callable[..., Result]

HERE = Path(__file__).parent

_double = load_script(HERE / "double.py")
_running = load_script(HERE / "running.py")
_memory_plane = load_script(HERE / "memory_plane.py")


@pytest.fixture
def double() -> ModuleType:
    """The module `double`: records, views, changes and problems as the control plane would send them."""
    return _double


@pytest.fixture
def reference() -> ModuleType:
    """The module `reference`, which knows docs/reference/cli.md and its pages."""
    return load_script(HERE / "reference.py")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine gets into a test."""
    for name in os.environ:
        if name.startswith("TEKTON_") or name.endswith("_PORT") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory as a control plane leaves it."""
    directory = tmp_path / "data"
    (directory / "run").mkdir(parents=True)
    (directory / "logs").mkdir()
    return directory


@pytest.fixture
def plane(data_dir: Path) -> Iterator[Any]:
    """A control plane that serves on the socket of `data_dir`."""
    plane = _double.ControlPlane()
    _double.serve(plane, str(data_dir / "run" / "control.sock"))
    yield plane
    plane.leave()


@pytest.fixture
def memory() -> Iterator[Any]:
    """A MemoryPlane: the real control plane, in memory and in a thread of its own."""
    memory = _memory_plane.MemoryPlane()
    yield memory
    memory.end()


@pytest.fixture
def as_somebody(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tekton]:
    """`as_somebody(subject, role)`: a `tekton` that talks to `memory`, and is that somebody from then on."""

    def somebody(subject: str, role: str) -> Tekton:
        file = tmp_path / "credential"
        file.write_text(memory.do(lambda: memory.plane.token(subject, role)))
        monkeypatch.setenv("TEKTON_CREDENTIAL_FILE", str(file))
        monkeypatch.setenv("TEKTON_URL", memory.plane.address.url)
        return lambda *arguments: CliRunner().invoke(cli, arguments, catch_exceptions=False, prog_name="tekton")

    return somebody


@pytest.fixture
def background(data_dir: Path) -> Iterator[Callable[..., Any]]:
    """`background(*arguments)`: the command line on `data_dir` in a process of its own, its output in a pipe."""
    yield from _starting(_running.Background, data_dir)


@pytest.fixture
def terminal(data_dir: Path) -> Iterator[Callable[..., Any]]:
    """`terminal(*arguments, columns=100)`: the command line on `data_dir`, on a terminal of its own."""
    yield from _starting(_running.Terminal, data_dir)


def _starting(kind: Callable[..., Any], data_dir: Path) -> Iterator[Callable[..., Any]]:
    started: list[Any] = []

    def start(*arguments: str, **options: Any) -> Any:
        started.append(kind(data_dir, *arguments, **options))
        return started[-1]

    yield start
    for run in started:
        run.end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane that has gone away is not waited for."""
    monkeypatch.setattr("tekton.cli.watch.PATIENCE", 0.0)


class Hour:
    """The clock of the machine, which is an hour ahead once that has passed."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def passes(self) -> None:
        self._ahead = 3600.0

    def time(self) -> float:
        return SYSTEM_CLOCK.time()

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic() + self._ahead


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Hour:
    """`hour.passes()`: at once, for `wait`, `down` and streams. A short timeout may be over before anything came."""
    hour = Hour()
    for module in ("wait", "down"):
        monkeypatch.setattr(f"tekton.cli.{module}.SYSTEM_CLOCK", hour)
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "clock", hour)
    return hour


@pytest.fixture
def tekton(data_dir: Path) -> Tekton:
    """`tekton(*arguments)`: run the command line on `data_dir`, in this process."""

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(
            cli, ["--data-dir", str(data_dir), *arguments], catch_exceptions=False, prog_name="tekton", **options
        )

    return run


@pytest.fixture
def held() -> Callable[..., AbstractContextManager[None]]:
    """`with held(path, text):` that file holds *text* and is locked, as by a process that owns a data directory."""

    @contextmanager
    def hold(path: Path, text: str = "") -> Iterator[None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(descriptor, text.encode())
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.close(descriptor)

    return hold
