"""The verb wait: until components are as they are wanted."""

from collections.abc import Callable
from typing import NamedTuple

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.components import STATES
from tekton.cli.names import expand_running
from tekton.cli.options import Target, duration, target_options
from tekton.cli.problems import DONE, FAILED, NotInTimeError, say_problem
from tekton.cli.render import clean, elapsed, paint_state, say
from tekton.cli.watch import Board, Record, watch
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import TektonError

_USABLE = ("ready", "degraded")


class Goal(NamedTuple):
    """What is waited for. *positive*: a component that has failed for good will never be that."""

    text: str
    holds: Callable[[Record], bool]
    positive: bool = True


class HopelessError(Exception):
    """What is waited for can come no more: *record* has failed, and no restart is coming."""

    def __init__(self, record: Record) -> None:
        self.record = record
        super().__init__(record["component_id"])


def _serves(record: Record) -> bool:
    return record["state"] in _USABLE and record.get("serving", True)


def _goal(_context: click.Context, _parameter: click.Parameter, value: str) -> Goal:
    kind, _, argument = value.partition("=")
    if kind == "state" and argument in STATES:
        return Goal(argument, lambda record: record["state"] == argument, argument in _USABLE)
    if kind == "capability" and argument:
        return Goal(value, lambda record: _serves(record) and argument in record["capabilities"])
    if value not in _GOALS:
        known = ", ".join([*_GOALS, "capability=NAME"])
        raise click.BadParameter(f"{value!r} is not {known} or state=… (one of {', '.join(STATES)})")
    return _GOALS[value]


_GOALS = {
    "ready": Goal("ready", lambda record: record["state"] == "ready"),
    "serving": Goal("serving", _serves),
    "stopped": Goal("stopped", lambda record: record["state"] == "stopped", positive=False),
    "completed": Goal(
        "completed", lambda record: record["state"] == "stopped" and record["reason"] in ("completed", "exit 0")
    ),
}


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--for",
    "goal",
    callback=_goal,
    default="ready",
    show_default=True,
    metavar="GOAL",
    help="ready, serving, stopped, completed, capability=NAME or state=STATE.",
)
@click.option("--timeout", callback=duration, metavar="TIME", help="Give up after this time (exit status 4).")
@target_options
def wait(names: tuple[str, ...], goal: Goal, timeout: float | None, target: Target) -> int:
    """Wait until components are as they are wanted.

    All of them are waited for. `serving` is ready or degraded, and taking traffic; `completed` is a one-shot that has
    done its work. For a capability, no NAME is needed: any component that offers it will do. A name that does not exist
    fails at once, and so does waiting for what a component cannot be any more, because it has failed and will not be
    restarted.
    """
    if not names and not goal.text.startswith("capability="):
        raise click.UsageError("name the components to wait for")
    client = connect(target)
    names = expand_running(client, names)
    for name in names:
        client.get(component_path(name, "why"))  # knows configured components, too, before they are registered
    since = SYSTEM_CLOCK.monotonic()
    waiting = _Waiting(client, names, goal, since)
    try:
        waiting.run(None if timeout is None else since + timeout)
    except NotInTimeError:
        raise NotInTimeError(", ".join(names), timeout or 0.0, waiting.describe()) from None
    except HopelessError as found:
        name, reason = found.record["component_id"], clean(found.record["reason"] or "no reason given")
        say_problem("component_failed", f"{name} has failed: {reason}", advice=f"tekton why {name}")
        return FAILED
    return DONE


class _Waiting:
    """Follows the changes until every component is as it is wanted."""

    def __init__(self, client: Client, names: tuple[str, ...], goal: Goal, since: float) -> None:
        self._client = client
        self._goal = goal
        self._since = since
        self._board = Board()
        self._left = dict.fromkeys(names)
        self._anybody = not names

    def run(self, deadline: float | None) -> None:
        """Raises NotInTimeError at *deadline*, HopelessError when one of them has failed for good."""
        for piece in watch(self._client, deadline=deadline):
            self._board.apply(piece)
            if self._anybody:
                found = next(filter(self._goal.holds, self._board.records()), None)
                if found is not None:
                    self._tell(found)
                    return
            elif not self._look():
                return

    def _look(self) -> bool:
        """Strike off those that are as they are wanted; True while some are left."""
        for name in list(self._left):
            record = self._board.find(name)
            if record is None:
                continue
            if self._goal.holds(record):
                del self._left[name]
                self._tell(record)
            elif self._goal.positive and _is_hopeless(self._client, record):
                raise HopelessError(record)
        return bool(self._left)

    def describe(self) -> str:
        """What is still waited for, and how far that is."""
        states = [f"{name} is {self._state_of(name)}" for name in self._left]
        return f"{self._goal.text}; {', '.join(states)}" if states else self._goal.text

    def _tell(self, record: Record) -> None:
        took = elapsed(SYSTEM_CLOCK.monotonic() - self._since)
        say(f"{record['component_id']}  {paint_state(self._goal.text, record['state'])} after {took}")

    def _state_of(self, name: str) -> str:
        record = self._board.find(name)
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
