"""The verbs up and down: the life of a whole system.

`up` starts the guard, follows the change feed, and stays until it is told to stop; with `--detach` it returns when
the start has settled. What it shows goes to stderr: it is said, not data.
"""

import os
import signal
from pathlib import Path

import click

from tekton.cli.client import connect, data_dir, load_config
from tekton.cli.events import line
from tekton.cli.instance import Instance
from tekton.cli.options import Target, components_file_option, duration, target_options
from tekton.cli.problems import NotInTimeError
from tekton.cli.render import elapsed, say
from tekton.cli.session import Session, StopSignals
from tekton.cli.watch import may_pass, news, pause
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import TektonError, TransportError

_LOOK_EVERY = 0.02
_HUNG_AFTER = 5.0


@click.command()
@components_file_option
@click.option("-d", "--detach", is_flag=True, help="Return when all is ready or has failed; run on in the background.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option(
    "--timeout", callback=duration, metavar="TIME", help="With --detach: how long to wait (then exit status 4)."
)
@click.option("--host", metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", help="The port to listen on; 0 takes a free one."
)
@target_options
def up(
    *,
    components_file: Path | None,
    detach: bool,
    quiet: bool,
    timeout: float | None,
    host: str | None,
    port: int | None,
    target: Target,
) -> int:
    """Start the control plane and its components.

    Stays in the foreground, shows what happens, and stops everything in order on Ctrl-C; a second Ctrl-C kills.
    Components that fail do not stop the others. With --detach the exit status is 1 if a component failed to start.
    """
    if target.url is not None:
        raise click.UsageError("up starts a control plane on this machine; --url names one elsewhere")
    if timeout is not None and not detach:
        raise click.UsageError("--timeout goes with --detach: in the foreground, up stays until it is stopped")
    target = target._replace(config=components_file or target.config)
    config = load_config(target, host=host, port=port)
    instance = Instance(config.data_dir)
    instance.refuse_if_owned()
    arguments = _arguments(config.data_dir, {"--config": target.config, "--host": host, "--port": port})
    with StopSignals() as signals:
        session = Session(instance, config, arguments, detach=detach, quiet=quiet)
        signals.listen(session.request_stop)
        return session.run(timeout)


def _arguments(data_dir: Path, options: dict[str, object]) -> list[str]:
    given = {"--data-dir": data_dir, **options}
    return [f"{name}={value}" for name, value in given.items() if value is not None]


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
    run is no error.
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
    if instance is not None and not _answers(target):
        _signal_owner(instance)
    else:
        _ask_to_stop(target, deadline)
    while _runs(target, instance):
        if SYSTEM_CLOCK.monotonic() >= deadline:
            raise NotInTimeError(str(target.url), 0.0)
        pause(_LOOK_EVERY)


def _answers(target: Target) -> bool:
    """False for a control plane that cannot be reached, or that hangs."""
    try:
        connect(target).get("/api/health", timeout=_HUNG_AFTER)
    except TransportError:
        return False
    return True


def _ask_to_stop(target: Target, deadline: float) -> None:
    """Ask the control plane to stop, and tell what it does until it says no more."""
    client = connect(target)
    asked = False
    try:
        for piece in news(client, deadline=deadline):
            if piece.kind == "snapshot":
                client.post("/api/system/stop")
                asked = True
            elif piece.change is not None:
                say(line(piece.change))
    except TransportError as error:
        # Once it was asked, that it ends is what we want, however it does.
        if not asked or error.code != "unreachable":
            raise


def _signal_owner(instance: Instance) -> None:
    """Stop an instance whose control plane does not answer: its guard can always be asked."""
    pid = instance.owner_pid
    if pid:
        say(f"the control plane does not answer; its guard (process {pid}) is asked instead")
        os.kill(pid, signal.SIGTERM)


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
