"""The verbs that act on components: start, stop, restart, kill, rm."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import click

from tekton.cli.client import READ_TIMEOUT, Client, component_path, connect
from tekton.cli.names import expand_running
from tekton.cli.options import Target, duration, target_options
from tekton.cli.problems import report
from tekton.cli.render import elapsed, plural, say
from tekton.cli.watch import Record
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError, TransportError

STATES = ("unknown", "registering", "initializing", "starting", "ready", "degraded", "failed", "stopping", "stopped")

SIGNALS = ("ABRT", "ALRM", "CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2", "WINCH")


def pick(views: list[Record], name: str) -> Record:
    """The view of the component *name*. Raises ComponentNotFoundError."""
    for view in views:
        if view["component_id"] == name:
            return view
    raise unknown_component(name, [view["component_id"] for view in views])


def unknown_component(name: str, known: list[str]) -> ComponentNotFoundError:
    """The error for a mistyped *name*, with the nearest of those that are *known*."""
    from tekton.utils.tekton_ids import nearest_name

    return ComponentNotFoundError(name, nearest_name(name, known))


_DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


def _operation(verb: str, summary: str, *, starts: bool = False, rolls: bool = False) -> click.Command:
    @click.command(name=verb, help=summary)
    @click.argument("names", metavar="NAME...", nargs=-1, required=True)
    @click.option("--no-wait", is_flag=True, help="Ask for it and return at once.")
    @click.option(
        "--timeout", callback=duration, metavar="TIME", help="How long to wait. Default: as long as it takes."
    )
    @target_options
    def operate(
        names: tuple[str, ...],
        no_wait: bool,
        timeout: float | None,
        target: Target,
        *,
        force: bool = False,
        rolling: bool = False,
    ) -> int:
        client = connect(target)
        asked = {"wait": not no_wait, "force": force, "rolling": rolling}
        query = {name: 1 for name, wanted in asked.items() if wanted}
        return each(expand_running(client, names), lambda name: _operate(client, verb, name, query, timeout))

    if starts:
        help_text = "Although what they depend on cannot be used. Says what is passed over."
        click.option("--force", is_flag=True, help=help_text)(operate)
    if rolls:
        help_text = "One replica at a time, the next when the one before is ready again."
        click.option("--rolling", is_flag=True, help=help_text)(operate)
    return operate


def each(names: tuple[str, ...], act: Callable[[str], None]) -> int:
    """Act on every name, whatever happens to the others; the status of the first failure."""
    first = 0
    for name in names:
        try:
            act(name)
        except TektonError as error:
            if error.code == "unreachable":
                raise
            first = first or report(error)
    return first


def _operate(client: Client, verb: str, name: str, query: Mapping[str, object], timeout: float | None) -> None:
    since = SYSTEM_CLOCK.monotonic()
    ran = verb == "start" and _runs(client, name, timeout)
    try:
        client.post(component_path(name, verb), query, timeout=timeout)
    finally:
        if "force" in query and not ran:
            _tell_passed_over(client, name)
    if ran:
        say(f"{name}  already running")
        return
    done = f"{_DONE[verb]} in {elapsed(SYSTEM_CLOCK.monotonic() - since)}" if "wait" in query else f"{verb} requested"
    say(f"{name}  {done}")


def _tell_passed_over(client: Client, name: str) -> None:
    """Say what a start was forced past, however it has ended."""
    with suppress(TektonError):
        passed_over = client.get(component_path(name, "why")).get("forced_past")
        if passed_over:
            say(f"{name}  passed over: {', '.join(passed_over)}")


def _runs(client: Client, name: str, timeout: float | None) -> bool:
    """True when all of a component is up. A refusal is for the operation itself to tell."""
    within = READ_TIMEOUT if timeout is None else min(timeout, READ_TIMEOUT)
    try:
        view = client.get(component_path(name), timeout=within)
    except TransportError:
        raise
    except TektonError:
        return False
    return view["state"] in ("ready", "degraded") and view["ready_replicas"] >= view["replicas"]


start = _operation("start", "Start components. What they depend on must be there, or on its way.", starts=True)
stop = _operation("stop", "Stop components. They are not restarted until they are started again.")
restart = _operation("restart", "Stop components and start them again.", starts=True, rolls=True)


def _signal(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """`KILL`, `SIGKILL`, `kill` and `9` are the same."""
    import signal

    if value.isdigit() and int(value) in list(signal.Signals):
        value = signal.Signals(int(value)).name
    name = value.upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise click.BadParameter(f"{value!r} is none of {', '.join(SIGNALS)}")
    return name


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "-s",
    "--signal",
    "signal_name",
    default="KILL",
    show_default=True,
    callback=_signal,
    metavar="SIGNAL",
    help="The signal, by name or number.",
)
@target_options
def kill(names: tuple[str, ...], signal_name: str, target: Target) -> int:
    """Send a signal to the processes of components.

    It reaches the whole process group of what Tekton runs, and never anything else. What ends by it has failed, and is
    restarted by its policy; `tekton stop` ends a component for good.
    """
    client = connect(target)
    return each(expand_running(client, names), lambda name: _kill(client, name, signal_name))


def _kill(client: Client, name: str, signal_name: str) -> None:
    answer = client.post(component_path(name, "kill"), body={"signal": signal_name})
    say(f"{name}  {signal_name} sent to {plural(len(answer['pids']), 'process group')}")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@target_options
def rm(names: tuple[str, ...], target: Target) -> int:
    """Stop components that `tekton run` has added, and take them out.

    Of one that registered itself, the instances that have ended are forgotten. What stands in the configuration is
    taken out there, followed by `tekton reload`.
    """
    client = connect(target)
    return each(expand_running(client, names), lambda name: _remove(client, name))


def _remove(client: Client, name: str) -> None:
    ended = [] if client.get(component_path(name))["supervised"] else _ended(client, name)
    for instance in ended:
        client.delete(f"{component_path(name)}?instance_uuid={instance}")
    if not ended:
        client.delete(component_path(name, "spec"), timeout=None)
    say(f"{name}  removed")


def _ended(client: Client, name: str) -> list[str]:
    instances = client.get(component_path(name, "instances"))["items"]
    return [one["instance_uuid"] for one in instances if one["state"] in ("failed", "stopped")]
