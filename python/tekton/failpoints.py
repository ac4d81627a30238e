"""Named places in the code at which a fault can be made: the process killed, a thread delayed, an error raised.

    TEKTON_FAILPOINTS="store.before_ack=kill@20; store.after_commit=delay:0.5; store.before_begin=error:EIO"

The control plane arms what this variable says when it starts. `@20` fires at the 20th time only, otherwise each time
does. Where nothing is armed, `reach` costs one look at an empty table.

Rules of this file: the table is closed, each name stands at one place of the code, and the end-to-end tests make the
process fail at every one of them. A delay blocks the thread that gets there, as a slow disk or a stalled machine does.
"""

import errno
import os
import re
import signal
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

POINTS: Mapping[str, str] = {
    "migrate.each_step": "a migration is about to begin",
    "store.before_begin": "a batch is about to be written",
    "store.after_commit": "a batch is durable, the file with the witness has not been touched",
    "store.before_witness": "the witness is about to be written",
    "store.after_witness": "the witness is written, the store has not said so",
    "store.before_ack": "the event loop knows that a batch is durable; nothing is published, nobody is answered",
    "checkpoint.before": "the log is about to be moved into the database",
    "checkpoint.after": "the log has been moved into the database",
    "work.before_begin": "a batch of tasks and conversations is about to be written",
    "work.after_commit": "a batch of tasks and conversations is durable, nobody has been told",
    "work.before_ack": "the event loop knows that a batch of tasks and conversations is durable; nobody is answered",
    "lease.before_expire": "a heartbeat lease has run out; its component is about to be failed",
    "start.before_spawn": "a process is about to be asked of the guard",
    "start.after_spawn": "a process runs, its component has not been told of",
    "drain.each_step": "an orderly stop is about to take its next step",
}
"""Every failpoint, with the moment that it stands for."""


class Action(NamedTuple):
    """What happens at a failpoint. `argument` is a number of seconds, or the number of a system error."""

    kind: Literal["kill", "delay", "error"]
    argument: float = 0.0
    only: int | None = None


_SPELLING = re.compile(r"(?:(kill)|(delay):([0-9]+(?:\.[0-9]+)?)|(error):(E[A-Z0-9]+))(?:@([1-9][0-9]*))?")

_armed: dict[str, Action] = {}
_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Say that the failpoint *name* is reached. Raises OSError when that is what is armed there."""
    if _armed:
        _act(name)


def parse(text: str) -> dict[str, Action]:
    """Read `NAME=ACTION; ...`. Raises ValueError, which names what is wrong and what there is."""
    actions: dict[str, Action] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, _, spelling = (part.strip() for part in entry.partition("="))
        if name not in POINTS:
            raise ValueError(f"no failpoint {name!r}; there are {', '.join(POINTS)}")
        actions[name] = _action(spelling)
    return actions


def arm(actions: Mapping[str, Action]) -> None:
    """Let *actions* happen from now on, instead of those before; nothing when it is empty. Counting starts anew."""
    _reached.clear()
    _armed.clear()
    _armed.update(actions)


def _action(spelling: str) -> Action:
    found = _SPELLING.fullmatch(spelling)
    number = getattr(errno, found[5], None) if found and found[5] else 0
    if found is None or number is None:
        raise ValueError(f"expected kill, delay:SECONDS or error:ERRNO, perhaps with @TIME, found {spelling!r}")
    only = int(found[6]) if found[6] else None
    if found[1]:
        return Action("kill", only=only)
    return Action("delay", float(found[3]), only) if found[2] else Action("error", number, only)


def _act(name: str) -> None:
    action = _armed.get(name)
    if action is None:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if action.only not in (None, _reached[name]):
        return
    if action.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.kind == "delay":
        time.sleep(action.argument)
    else:
        raise OSError(int(action.argument), f"{os.strerror(int(action.argument))} (made at failpoint {name})")
