"""The guard's table of child processes: starting, reaping, stopping, and clearing away what they leave.

A child owns everything that it started. Its remains (descendants of the guard in the child's session or process
group, or with its mark in their environment) are killed when it ends: at once after a crash, at the end of the
grace period when it was asked to stop. A child is *cleared* when nothing of it is left.
"""

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from tekton.supervisor import cgroups, procfs
from tekton.supervisor.exits import Exit
from tekton.supervisor.log_rotation import MOST_KEPT, Rotation
from tekton.supervisor.privileges import Identity, Limits, inherited
from tekton.supervisor.spawn import Command, Failure, Spawned, read_outcome, spawn
from tekton.supervisor.wire import Message

_KILL_AGAIN = 0.1
_CHILD_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Order(NamedTuple):
    """A process to start. `meta` is the control plane's own; a `listed` child is one that it is told of."""

    name: str
    meta: dict[str, str]
    command: Command
    listed: bool = True
    rotation: Rotation = Rotation()


def read_order(request: Message, environment: dict[str, str]) -> Order:
    """The order in a request, with *environment* below its own. Raises KeyError, TypeError or ValueError."""
    argv, env, meta = list(request["argv"]), dict(request["env"]), dict(request["meta"])
    texts = [request["name"], request["cwd"], request["log"], *argv, *env, *env.values(), *meta, *meta.values()]
    if not argv or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("a command, and texts without NUL, are needed")
    if any(not name or "=" in name for name in env):
        raise ValueError("the name of an environment variable is empty or has a '='")
    identity = _identity(request.get("identity"))
    command = Command(
        argv,
        {**inherited(environment, identity), **env},
        request["cwd"],
        request["log"],
        identity=identity,
        limits=Limits(**request.get("limits", {})),
    )
    return Order(request["name"], meta, command, rotation=_rotation(request.get("rotation", {})))


def _rotation(found: Message) -> Rotation:
    rotation = Rotation(**found)
    if rotation.max_size < 1 or not 1 <= rotation.keep <= MOST_KEPT:
        raise ValueError(f"a log of {rotation.max_size} bytes, {rotation.keep} older files")
    return rotation


def _identity(found: Message | None) -> Identity | None:
    return None if found is None else Identity(**{**found, "groups": tuple(found["groups"])})


class Child:
    """One process that the guard has started."""

    __slots__ = (
        "acknowledged",
        "cleared",
        "command",
        "exit",
        "id",
        "kill_at",
        "listed",
        "meta",
        "name",
        "spawned",
        "started_at",
        "terminated",
    )

    def __init__(self, number: int, order: Order, spawned: Spawned, started_at: float) -> None:
        self.id = number
        self.name, self.meta, self.command, self.listed, _ = order
        self.spawned = spawned
        self.started_at = started_at
        self.acknowledged = not self.listed
        self.exit: Exit | None = None
        self.kill_at: float | None = None
        self.cleared = False
        self.terminated = False

    @property
    def pid(self) -> int:
        return self.spawned.pid

    @property
    def alive(self) -> bool:
        """True until it has been reaped; so long its pid and process group cannot be anybody else's."""
        return self.exit is None

    def note_exit(self, status: int) -> None:
        """It has been reaped."""
        self.exit = Exit.of(status)
        if self.command.group is not None and not self.exit.clean and cgroups.has_killed(self.command.group):
            self.exit = self.exit._replace(memory_limit=self.command.limits.memory)

    def read_outcome(self) -> Failure | None:
        """None when the program runs. To be called once, when the pipe `spawned.outcome` has ended."""
        return read_outcome(self.spawned.outcome, self.command)

    def describe(self) -> Message:
        """The child as the control plane gets to know it."""
        return {
            "id": self.id,
            "pid": self.pid,
            "name": self.name,
            "started_at": self.started_at,
            "log_offset": self.spawned.log_offset,
            "log_problem": self.spawned.log_problem,
            "meta": self.meta,
            "exit": self.exit and self.exit._asdict(),
            "cleared": self.cleared,
        }


class Children:
    """All children that run, or whose end has not been acknowledged."""

    def __init__(self, run_id: str, time: Callable[[], float]) -> None:
        self._run_id = run_id
        self._time = time
        self._last_id = 0
        self._groups: cgroups.MemoryGroups | None = None
        self._by_id: dict[int, Child] = {}
        self._by_pid: dict[int, Child] = {}

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_id.values()))

    def find(self, number: int) -> Child | None:
        """The child with this id."""
        return self._by_id.get(number)

    @property
    def living(self) -> list[Child]:
        """The children that have not ended."""
        return list(self._by_pid.values())

    @property
    def unsettled(self) -> bool:
        """True while something ended is not cleared."""
        return any(child.exit is not None and not child.cleared for child in self._by_id.values())

    @property
    def deadlines(self) -> list[float]:
        """When living children that were asked to stop have to be killed (monotonic seconds)."""
        return [child.kill_at for child in self._by_pid.values() if child.kill_at is not None]

    def start(self, order: Order) -> Child:
        """Start a process, marked as a child of this run. Raises OSError."""
        self._last_id += 1
        mark = {procfs.MARK_VARIABLE: f"{self._run_id}.{self._last_id}"}
        command = order.command._replace(env={**order.command.env, **mark}, group=self._make_group(order))
        order = order._replace(command=command)
        child = Child(self._last_id, order, spawn(order.command), self._time())
        self._by_id[child.id] = self._by_pid[child.pid] = child
        return child

    def acknowledge(self, child: Child) -> None:
        """Somebody knows that the child has ended: it is kept until it is cleared, and no longer."""
        child.acknowledged = True
        self._forget_if_done(child)

    def forget(self, child: Child) -> None:
        """Drop a child whose program never ran."""
        self._by_id.pop(child.id, None)

    def _make_group(self, order: Order) -> str | None:
        memory = order.command.limits.memory
        if memory is None:
            return None
        if self._groups is None:
            self._groups = cgroups.MemoryGroups.delegated(self._run_id.partition(".")[0])
        return self._groups.make(f"{self._run_id.partition('.')[2]}.{self._last_id}", memory)

    def reap(self, on_other: Callable[[int, int], None] = lambda _pid, _status: None) -> list[Child]:
        """Collect all that have ended; the children among them. *on_other* gets pid and status of all others."""
        ended = []
        for pid, status in iter(_wait, None):
            child = self._by_pid.pop(pid, None)
            if child is None:
                on_other(pid, status)
            else:
                child.note_exit(status)
                ended.append(child)
        return ended

    def signal(self, child: Child, signum: int, *, group: bool) -> bool:
        """Signal a child (or its process group) that has not been reaped. False when it has ended."""
        if not child.alive:
            return False
        try:
            (os.killpg if group else os.kill)(child.pid, signum)
        except ProcessLookupError:
            # Not its own group yet: it is between fork and setsid.
            os.kill(child.pid, signum)
        return True

    def stop(self, child: Child, kill_at: float) -> bool:
        """Ask the group of a child to end; what is left of it at *kill_at* is killed."""
        child.kill_at = kill_at if child.kill_at is None else min(kill_at, child.kill_at)
        if not self.signal(child, signal.SIGTERM, group=True):
            return False
        # A stopped process would not see the SIGTERM.
        return self.signal(child, signal.SIGCONT, group=True)

    def clean(self, now: float) -> list[Child]:
        """Kill what is due, and the remains of what has ended; the children that are now cleared."""
        ended = [child for child in self._by_id.values() if child.exit is not None and not child.cleared]
        due = [child for child in self._by_pid.values() if child.kill_at is not None and child.kill_at <= now]
        if not ended and not due:
            return []
        owned = self._owned(procfs.descendants(os.getpid()), [*ended, *due])
        if not all(owned[child.id] for child in ended):
            # While processes are listed, one that has just forked may end before it is read, and what it forked may
            # come after the list was made: whoever seems to have left nothing is looked for again.
            again = self._owned(procfs.descendants(os.getpid()), [*ended, *due])
            owned = {number: remains or again[number] for number, remains in owned.items()}
        for child in due:
            self.signal(child, signal.SIGKILL, group=True)
            procfs.kill_all(owned[child.id])
            # A process in an uninterruptible call dies later; no need to spin until then.
            child.kill_at = now + _KILL_AGAIN
        return [child for child in ended if self._clear(child, owned[child.id], now)]

    def _clear(self, child: Child, remains: list[procfs.Process], now: float) -> bool:
        if not remains:
            self._kill_unseen(child)
            child.cleared = True
            if self._groups is not None and child.command.group is not None:
                self._groups.remove(child.command.group)
            self._forget_if_done(child)
        elif child.kill_at is None or child.kill_at <= now:
            procfs.kill_all(remains)
        elif not child.terminated:
            # Its group has been asked already, and to many programs a second SIGTERM means "at once".
            child.terminated = True
            for process in remains:
                if process.group != child.pid:
                    procfs.send(process, signal.SIGTERM)
        return child.cleared

    def _kill_unseen(self, child: Child) -> None:
        # Without /proc only the process group is known, and not even whether somebody is left in it.
        if not procfs.AVAILABLE:
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)

    def _forget_if_done(self, child: Child) -> None:
        if child.acknowledged and child.cleared:
            self._by_id.pop(child.id, None)

    def _owned(self, tree: list[procfs.Process], of: Iterable[Child]) -> dict[int, list[procfs.Process]]:
        """The processes of *tree* that belong to each of *of*, by child id."""
        owned: dict[int, list[procfs.Process]] = {child.id: [] for child in of}
        # The living come last: when a pid has been used again, it is theirs.
        by_pid = {child.pid: child.id for child in of} | {pid: child.id for pid, child in self._by_pid.items()}
        for process in tree:
            owner = by_pid.get(process.session) or by_pid.get(process.group) or self._owner_by_mark(process)
            if owner in owned:
                owned[owner].append(process)
        return owned

    def _owner_by_mark(self, process: procfs.Process) -> int:
        # A process can give its own children any mark: only what is a number to us counts.
        run, _, number = (procfs.mark_of(process.pid) or "").rpartition(".")
        return int(number) if run == self._run_id and _CHILD_NUMBER.fullmatch(number) else 0


def _wait() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
