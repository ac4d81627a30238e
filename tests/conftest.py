"""Fixtures that more than one folder uses."""

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tekton.core.component_lifecycle import ComponentRegistry

# What a shell ignores for programs in the background, and what a launcher may have blocked: those tested would inherit.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
async def registry() -> AsyncIterator[ComponentRegistry]:
    """A registry in memory."""
    async with ComponentRegistry() as registry:
        yield registry


@contextmanager
def _memory_disk(at: Path, options: str) -> Iterator[Path]:
    at.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.fixture(scope="session")
def memory_disk() -> Callable[[Path, str], AbstractContextManager[Path]]:
    """`with memory_disk(path, "size=2m")`: a file system of its own at *path*. Needs root; skipped without."""
    return _memory_disk
