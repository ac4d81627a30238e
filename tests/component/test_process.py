"""Components as whole processes: signals, exit codes, what they say when they cannot start."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tekton.core.lifecycle import ComponentState
from tekton.testing.control_plane import InMemoryControlPlane

GREETER = """
import asyncio, sys
import tekton

app = tekton.Component("greeter", port=int(sys.argv[1]))

@app.on_start
async def start():
    print("started", flush=True)
    if "forever" in sys.argv:
        await asyncio.Event().wait()
    if "stubborn" in sys.argv:
        app.stubborn = asyncio.create_task(ignore_the_end())

async def ignore_the_end():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@app.on_stop
async def stop():
    print("stopped", flush=True)

app.run()
"""


@contextmanager
def running(plane: InMemoryControlPlane, directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    program = directory / "greeter.py"
    program.write_text(GREETER)
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments],
        env={**os.environ, "TEKTON_URL": plane.address.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = await asyncio.to_thread(process.communicate, timeout=40)
    return process.returncode, output.strip(), errors


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_good_order(
    plane: InMemoryControlPlane, tmp_path: Path, signum: signal.Signals
) -> None:
    async with asyncio.timeout(50):
        with running(plane, tmp_path, "0") as process:
            record = await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)
            assert record is not None
            answer = await asyncio.to_thread(urllib.request.urlopen, f"{record.endpoint}/api/health", timeout=5)
            assert answer.status == 200
            answer.close()

            process.send_signal(signum)
            code, output, _ = await ended(process)

    assert (code, output.splitlines()) == (0, ["started", "stopped"])
    assert plane.record("greeter").state is ComponentState.STOPPED


async def test_a_signal_during_the_start_ends_it_too(plane: InMemoryControlPlane, tmp_path: Path) -> None:
    async with asyncio.timeout(50):
        with running(plane, tmp_path, "0", "forever") as process:
            assert await line(process) == "started"
            await plane.registry.wait_until("greeter", lambda record: record is not None)

            process.send_signal(signal.SIGTERM)
            code, output, errors = await ended(process)

    assert (code, output) == (0, "stopped")
    assert "Traceback" not in errors


async def test_what_ignores_its_cancellation_does_not_keep_the_process(
    plane: InMemoryControlPlane, tmp_path: Path
) -> None:
    async with asyncio.timeout(50):
        with running(plane, tmp_path, "0", "stubborn") as process:
            await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)

            process.send_signal(signal.SIGTERM)
            code, output, errors = await ended(process)

    assert (code, output.splitlines()) == (0, ["started", "stopped"])
    assert "ignores its cancellation and is left behind" in errors
    assert "Traceback" not in errors


async def test_a_port_that_is_taken_is_said_in_one_line(plane: InMemoryControlPlane, tmp_path: Path) -> None:
    port = plane.address.url.rpartition(":")[2]

    async with asyncio.timeout(50):
        with running(plane, tmp_path, port) as process:
            code, output, errors = await ended(process)

    assert (code, output) == (1, "")
    assert f"greeter: port {port} is in use" in errors
    assert "Traceback" not in errors
