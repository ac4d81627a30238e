"""The verbs about components: ps, start, stop, restart, wait."""

from collections.abc import Callable, Mapping

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.problems import DONE, FAILED, NotInTimeError, report, say_problem
from tekton.cli.render import (
    GUTTER,
    Column,
    clean,
    counts,
    elapsed,
    paint_state,
    print_items,
    say,
    short_duration,
    table,
)
from tekton.cli.watch import Board, Record, watch
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError

STATES = ("unknown", "registering", "initializing", "starting", "ready", "degraded", "failed", "stopping", "stopped")

_PS_COLUMNS = (
    Column("COMPONENT"),
    Column("STATE"),
    Column("RESTARTS", numeric=True),
    Column("UPTIME"),
    Column("PORT"),
    Column("PID"),
    Column("NOTE"),
)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@output_options("table", "json", "jsonl", "name")
@target_options
def ps(names: tuple[str, ...], output: str, target: Target) -> None:
    """List the components and their states."""
    system = connect(target).get("/api/system")
    if names:
        system["components"] = [_pick(system["components"], name) for name in names]
    if output != "table":
        print_items(output, system, "components")
        return
    views = system["components"]
    for line in table(_PS_COLUMNS, [_ps_row(view) for view in views]):
        click.echo(line)
    click.echo(f"\n{_footer(views)}")


def _ps_row(view: Record) -> list[str]:
    uptime = view["uptime"]
    return [
        view["component_id"],
        paint_state(view["state"], view["state"]),
        str(view["restarts"]),
        "-" if uptime is None else short_duration(uptime),
        _or_dash(view["port"]),
        _or_dash(view["pid"]),
        clean(view["note"] or ""),
    ]


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _footer(views: list[Record]) -> str:
    text = counts(view["state"] for view in views)
    failed = next((view["component_id"] for view in views if view["state"] == "failed"), None)
    return f"{text}{GUTTER * 4}tekton why {failed}" if failed else text


def _pick(views: list[Record], name: str) -> Record:
    for view in views:
        if view["component_id"] == name:
            return view
    raise unknown_component(name, [view["component_id"] for view in views])


def unknown_component(name: str, known: list[str]) -> ComponentNotFoundError:
    """The error for a mistyped *name*, with the nearest of those that are *known*."""
    from tekton.utils.tekton_ids import nearest_name

    return ComponentNotFoundError(name, nearest_name(name, known))


_DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


def _operation(verb: str, summary: str) -> click.Command:
    @click.command(name=verb, help=summary)
    @click.argument("names", metavar="NAME...", nargs=-1, required=True)
    @click.option("--no-wait", is_flag=True, help="Ask for it and return at once.")
    @click.option(
        "--timeout", callback=duration, metavar="TIME", help="How long to wait. Default: as long as it takes."
    )
    @target_options
    def operate(names: tuple[str, ...], no_wait: bool, timeout: float | None, target: Target) -> int:
        client = connect(target)
        query = {} if no_wait else {"wait": 1}
        return _each(names, lambda name: _operate(client, verb, name, query, timeout))

    return operate


def _each(names: tuple[str, ...], act: Callable[[str], None]) -> int:
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
    client.post(component_path(name, verb), query, timeout=timeout)
    done = f"{_DONE[verb]} in {elapsed(SYSTEM_CLOCK.monotonic() - since)}" if query else f"{verb} requested"
    say(f"{name}  {done}")


start = _operation("start", "Start components. What they depend on must be there, or on its way.")
stop = _operation("stop", "Stop components. They are not restarted until they are started again.")
restart = _operation("restart", "Stop components and start them again.")


def _goal(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    state = value.removeprefix("state=")
    if state not in STATES or (state == value and state not in ("ready", "stopped")):
        raise click.BadParameter(f"{value!r} is not ready, stopped or state=… (one of {', '.join(STATES)})")
    return state


@click.command()
@click.argument("name")
@click.option(
    "--for",
    "goal",
    callback=_goal,
    default="ready",
    show_default=True,
    metavar="ready|stopped|state=STATE",
    help="The state to wait for.",
)
@click.option("--timeout", callback=duration, metavar="TIME", help="Give up after this time (exit status 4).")
@target_options
def wait(name: str, goal: str, timeout: float | None, target: Target) -> int:
    """Wait until a component is in a state.

    A name that does not exist fails at once, and so does waiting for a component to become ready that has failed
    and will not be restarted.
    """
    client = connect(target)
    client.get(component_path(name, "why"))  # knows configured components, too, before they are registered
    since = SYSTEM_CLOCK.monotonic()
    board = Board()
    try:
        reached = _reaches(client, board, name, goal, None if timeout is None else since + timeout)
    except NotInTimeError:
        waiting_for = f"state {goal}; it is {_state_of(board, name)}"
        raise NotInTimeError(name, timeout or 0.0, waiting_for) from None
    if reached:
        say(f"{name}  {paint_state(goal, goal)} after {elapsed(SYSTEM_CLOCK.monotonic() - since)}")
        return DONE
    say_problem("component_failed", f"{name} has failed: {_reason_of(board, name)}", advice=f"tekton why {name}")
    return FAILED


def _reaches(client: Client, board: Board, name: str, goal: str, deadline: float | None) -> bool:
    """Follow the changes until the component is in the state, or (False) cannot become ready any more."""
    for piece in watch(client, deadline=deadline):
        board.apply(piece)
        record = board.find(name)
        if record is not None and record["state"] == goal:
            return True
        if record is not None and goal == "ready" and _is_hopeless(client, record):
            return False
    return False


def _reason_of(board: Board, name: str) -> str:
    record = board.find(name)
    return clean(record["reason"] or "no reason given") if record is not None else "it is gone"


def _state_of(board: Board, name: str) -> str:
    record = board.find(name)
    return str(record["state"]) if record is not None else "not registered"


def _is_hopeless(client: Client, record: Record) -> bool:
    """True when Tekton runs the component, it has failed, and no restart is coming."""
    if record["state"] != "failed" or not record["supervised"]:
        return False
    try:
        restart_status = client.get(component_path(record["component_id"], "why"))["restart"]
    except TektonError:
        return False
    return restart_status is None or bool(restart_status["gave_up"])
