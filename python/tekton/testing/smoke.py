"""Does this installation work? `python -m tekton.testing.smoke` tries it, in a folder of its own.

It needs nothing but the installed package: no sources, no compiler, no network beyond this machine. Each line says what
was tried; the first that fails ends it with exit status 1 and shows what was said. About five seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import click

PATIENCE: Final = 60.0
"""Seconds for one command."""
_LOOKS: Final = 200
"""So often it is looked whether a component has come back, each time by a command of its own."""


class SmokeError(Exception):
    """Something did not do what it has to."""


class Typed:
    """Commands typed in *directory*, with none of the caller's settings."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEKTON_", "PYTHON"))}
        self._environment = {**kept, "HOME": str(directory), "NO_COLOR": "1"}

    def tekton(self, *words: str) -> str:
        """The output of `tekton`, which has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "tekton", *words],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise SmokeError(f"$ tekton {' '.join(words)}\n{done.stdout}{done.stderr}exit status {done.returncode}")
        return done.stdout


def main() -> Literal[0, 1]:
    """Try everything; returns the exit status."""
    try:
        for what, check in (("the native kernels", kernels), ("a registry that is opened again", registry)):
            check()
            click.echo(f"ok  {what}")
        if sys.platform == "win32":
            click.echo("--  a system of processes: not on Windows")
            return 0
        with tempfile.TemporaryDirectory(prefix="tekton-smoke-") as directory:
            system(Path(directory))
    except SmokeError as error:
        click.echo(f"failed\n{error}", err=True)
        return 1
    return 0


def kernels() -> None:
    """Each kernel of the extension does something."""
    from tekton.core.dependency import DependencyResolver
    from tekton.mcp.context import MessageContext
    from tekton.mcp.message import Message, MessageType

    order, cycles = DependencyResolver.resolve_dependencies({"gateway": ["memory"], "memory": []})
    expect((order, cycles), (["memory", "gateway"], []))
    message = Message(MessageType.EVENT, {"text": "grüße"}, MessageContext("smoke"))
    expect(Message.from_json(message.to_json()).content, {"text": "grüße"})


def registry() -> None:
    """What a registry has acknowledged is there when it is opened again."""
    from tekton.core.component_lifecycle import ComponentRegistry
    from tekton.core.lifecycle import ComponentRegistration

    async def write_and_read(directory: str) -> None:
        async with ComponentRegistry(data_dir=directory) as first:
            await first.register_component(ComponentRegistration(component_id="memory"))
        async with ComponentRegistry(data_dir=directory) as second:
            expect([record.component_id for record in second.all_instances()], ["memory"])

    with tempfile.TemporaryDirectory(prefix="tekton-smoke-") as directory:
        asyncio.run(write_and_read(directory))


def system(directory: Path) -> None:
    """A system is started, answers, survives a kill, and leaves nothing."""
    typed = Typed(directory)
    typed.tekton("init")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("a system of two components starts", lambda: _start(typed)),
        ("its tool answers", lambda: _call(typed)),
        ("a component that is killed comes back", lambda: _kill(typed)),
        ("what it knows is backed up", lambda: typed.tekton("backup", "copy.db")),
    ]
    try:
        for what, step in steps:
            step()
            click.echo(f"ok  {what}")
    finally:
        typed.tekton("down")
    click.echo("ok  everything is stopped")


def _start(typed: Typed) -> None:
    typed.tekton("up", "-d")
    expect({name: view["state"] for name, view in _components(typed).items()}, {"greeter": "ready", "caller": "ready"})


def _call(typed: Typed) -> None:
    expect("Hello, Ada." in typed.tekton("tool", "call", "greeter.greet", "name=Ada"), True)


def _kill(typed: Typed) -> None:
    before = _components(typed)["greeter"]["pid"]
    typed.tekton("kill", "greeter")
    for looks in count():
        greeter = _components(typed)["greeter"]
        if greeter["state"] == "ready" and greeter["pid"] != before:
            break
        expect(looks < _LOOKS, True)
    _call(typed)


def _components(typed: Typed) -> dict[str, Any]:
    return {view["component_id"]: view for view in json.loads(typed.tekton("ps", "-o", "json"))["components"]}


def expect(found: object, wanted: object) -> None:
    """Raise SmokeError unless *found* is *wanted*."""
    if found != wanted:
        raise SmokeError(f"expected {wanted!r}, found {found!r}")


if __name__ == "__main__":
    sys.exit(main())
