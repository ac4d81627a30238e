"""The verb down: stop a whole system, and leave nothing running, whatever state it is in."""

import os
import signal
from functools import partial

import click

from tekton.cli.client import Client, connect, data_dir
from tekton.cli.events import line
from tekton.cli.instance import Instance
from tekton.cli.options import Target, duration, target_options
from tekton.cli.problems import NotInTimeError
from tekton.cli.render import elapsed, say
from tekton.cli.unit_names import UnitNames
from tekton.cli.watch import may_pass, news, pause
from tekton.clock import SYSTEM_CLOCK
from tekton.supervisor import procfs
from tekton.utils.tekton_errors import TektonError, TransportError

_LOOK_EVERY = 0.02
_HUNG_AFTER = 5.0
_PATIENCE = 5.0
"""Seconds that a control plane that does not answer has to stop in order, once it was asked to."""


@click.command()
@click.option(
    "--timeout",
    callback=duration,
    default="90s",
    show_default=True,
    metavar="TIME",
    help="How long to wait until all is stopped (then exit status 4).",
)
@target_options
def down(timeout: float, target: Target) -> None:
    """Stop everything, dependents first.

    Components stop in the reverse of the order in which they started, then the control plane. Stopping what does not
    run is no error. A control plane that does not answer is killed, and its guard stops the components.
    """
    since = SYSTEM_CLOCK.monotonic()
    deadline = since + timeout
    instance = None if target.url is not None else Instance(data_dir(target))
    if instance is not None and instance.owner_pid is None:
        say(f"nothing runs in {instance.data_dir}")
        return
    try:
        _stop(target, instance, deadline)
    except NotInTimeError as error:
        raise _not_stopped(target, instance, timeout) from error
    say(f"stopped in {elapsed(SYSTEM_CLOCK.monotonic() - since)}")


def _stop(target: Target, instance: Instance | None, deadline: float) -> None:
    left = deadline - SYSTEM_CLOCK.monotonic()
    if instance is not None and not _answers(target, min(_HUNG_AFTER, left / 4)):
        _stop_hung(target, instance, deadline)
    else:
        _ask_to_stop(target, deadline)
    if not _ended(target, instance, deadline):
        raise NotInTimeError(str(target.url), 0.0)


def _ended(target: Target, instance: Instance | None, deadline: float) -> bool:
    """True as soon as nothing runs any more, False at *deadline*."""
    while _runs(target, instance):
        if SYSTEM_CLOCK.monotonic() >= deadline:
            return False
        pause(_LOOK_EVERY)
    return True


def _answers(target: Target, timeout: float) -> bool:
    """False for a control plane that cannot be reached, or that hangs."""
    try:
        connect(target).get("/api/health", timeout=timeout)
    except TransportError:
        return False
    return True


def _ask_to_stop(target: Target, deadline: float) -> None:
    """Ask the control plane to stop, and tell what it does until it says no more."""
    client = connect(target)
    units = UnitNames(client)
    asked = False
    try:
        for piece in news(client, deadline=deadline):
            if piece.kind == "snapshot":
                units.learn(piece.records)
                asked = True
                _post_stop(client)
            elif piece.change is not None:
                say(line(piece.change, units.of(piece.change)))
    except TransportError as error:
        # Once it was asked, that it ends is what we want, however it does.
        if not asked or error.code != "unreachable":
            raise


def _post_stop(client: Client) -> None:
    try:
        client.post("/api/system/stop")
    except TransportError as error:
        # It may end before it has answered. What it has told until then is told all the same.
        if error.code != "unreachable":
            raise


def _stop_hung(target: Target, instance: Instance, deadline: float) -> None:
    """Stop an instance whose control plane does not answer: its guard can always be asked.

    The guard waits for the control plane; when that still does not answer it is killed, and the guard stops the
    components. What is left shortly before *deadline* is killed.
    """
    left = deadline - SYSTEM_CLOCK.monotonic()
    ended = partial(_ended, target, instance)
    _signal_owner(instance, "the control plane does not answer; its guard (process {pid}) is asked instead")
    if ended(deadline - left + min(_PATIENCE, left / 4)) or _answers(target, left / 8):
        return
    _kill_control_plane(instance)
    if not ended(deadline - left / 4):
        _signal_owner(instance, "the guard (process {pid}) kills what is left")


def _signal_owner(instance: Instance, text: str) -> None:
    pid = instance.owner_pid
    if pid:
        say(text.format(pid=pid))
        os.kill(pid, signal.SIGTERM)


def _kill_control_plane(instance: Instance) -> None:
    """Kill it if it is what its file says: a process below the guard, or the owner of the directory."""
    guard, pid = instance.owner_pid, instance.control_pid
    below = procfs.descendants(guard) if guard else []
    # One that runs without a guard above it owns the directory itself.
    itself = procfs.read(guard) if guard and guard == pid else None
    process = next((process for process in (*below, itself) if process is not None and process.pid == pid), None)
    if process is not None:
        say(f"the control plane (process {pid}) hangs and is killed")
        procfs.send(process, signal.SIGKILL)


def _runs(target: Target, instance: Instance | None) -> bool:
    if instance is not None:
        return instance.owner_pid is not None
    try:
        connect(target).get("/api/health")
    except TektonError as error:
        return not may_pass(error)
    return True


def _not_stopped(target: Target, instance: Instance | None, timeout: float) -> NotInTimeError:
    place = str(instance.data_dir) if instance is not None else str(target.url)
    error = NotInTimeError(place, timeout, "everything to stop")
    if instance is not None and instance.owner_pid:
        error.hint = f"kill {instance.owner_pid}; a second time, it ends at once what is left"
    return error
