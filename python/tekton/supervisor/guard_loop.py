"""The guard's event loop: one thread, one selector, nothing that waits.

The guard runs in one of four phases:

    RUNNING    the control plane is up, or about to be restarted
    DRAINING   the control plane was asked to stop everything in order, and has until the deadline
    SWEEPING   it has ended; all that is left was asked to stop
    KILLING    all that is left is killed until nothing is

Each phase leads to the next one only. The socket to the control plane carries JSON lines; the operations are in
`Guard._operations`, the events are `hello`, `exited` and `cleared`.
"""

import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final, NamedTuple

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.supervisor import prctl, procfs
from tekton.supervisor.guard_children import Child, Children, Order, read_order
from tekton.supervisor.guard_link import Link
from tekton.supervisor.guard_log import GuardLog
from tekton.supervisor.guard_logs import LogKeeper
from tekton.supervisor.guard_signals import SignalSource
from tekton.supervisor.log_rotation import Rotation
from tekton.supervisor.spawn import Command, Failure
from tekton.supervisor.wire import Message

FINAL_EXIT_CODES: Final = frozenset({0, 8, 75, 78})
"""The control plane is not restarted after these: stopped on purpose, wrong configuration, data directory in use."""

CANNOT_WRITE: Final = 73
"""Final too, as long as it has never served: later the disk may get better, and the components live on meanwhile."""

_FIRST_DELAY: Final = 0.1
_LAST_DELAY: Final = 5.0
_HEALTHY_AFTER: Final = 10.0
_SWEEP_GRACE: Final = 5.0
_KILL_LIMIT: Final = 10.0
_POLL: Final = 0.1
_PARENT_POLL: Final = 1.0
_FAILURE_LIMIT: Final = 100
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Phase(Enum):
    RUNNING = "running"
    DRAINING = "draining"
    SWEEPING = "sweeping"
    KILLING = "killing"


class Settings(NamedTuple):
    """What one run of the guard needs. With `attached_fd`, the control plane is at its other end already."""

    data_dir: str
    run_id: str
    public_pid: int
    environment: dict[str, str]
    control_plane: list[str]
    attached_fd: int | None
    drain_timeout: float
    failed_starts: int


class _Backoff:
    """How long to wait before the control plane is started again: longer each time that it could not come up.

    `starts` counts those since it has served.
    """

    def __init__(self) -> None:
        self.started_at = 0.0
        self.has_served = False
        self.starts = 0
        self._delay = _FIRST_DELAY

    def next(self, now: float) -> float:
        """Seconds to wait, given that it has ended at *now*."""
        delay = _FIRST_DELAY if now - self.started_at >= _HEALTHY_AFTER else self._delay
        self._delay = min(2 * delay, _LAST_DELAY)
        return delay

    @property
    def serves(self) -> bool:
        """True while the one that was started last has come up."""
        return self.has_served and not self.starts

    def came_up(self) -> None:
        """It serves: whatever ends it now, it is worth a quick restart."""
        self.has_served = True
        self.starts = 0
        self._delay = _FIRST_DELAY


class _Caller(NamedTuple):
    """Who waits to hear whether a program runs: a request of one incarnation of the control plane."""

    incarnation: int
    seq: int | None


class Guard:
    """Spawns and reaps every process, and keeps the control plane running."""

    def __init__(self, settings: Settings, log: GuardLog, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._children = Children(settings.run_id, clock.time)
        self._logs = LogKeeper(log, clock)
        self._selector = selectors.DefaultSelector()
        self._phase = Phase.RUNNING
        self._exit_code = 0
        self._deadline: float | None = None
        self._patience = settings.drain_timeout
        self._signals = SignalSource((*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD))
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
        self._link = Link(
            self._selector, on_message=self._serve, on_closed=self._on_link_closed, on_stuck=self._on_link_stuck
        )
        self._control: Child | None = None
        self._backoff = _Backoff()
        self._incarnation = 0
        self._failures = 0
        self._awaited: dict[int, _Caller] = {}
        self._operations: dict[str, Callable[[Message], None]] = {
            "spawn": self._spawn,
            "signal": self._signal,
            "stop": self._stop,
            "ack": self._acknowledge,
            "serving": self._on_serving,
            "patience": self._be_patient,
        }

    def run(self) -> int:
        """Run until everything has ended; the exit code."""
        if self._settings.attached_fd is not None:
            self._connect(socket.socket(fileno=self._settings.attached_fd))
        else:
            self._start_control_plane()
        while not self._finished():
            try:
                self._turn()
            except Exception:
                # Everything depends on the guard: one broken turn must not end it, an endless row of them must.
                self._log.say(f"internal error\n{traceback.format_exc()}")
                self._failures += 1
                if self._failures > _FAILURE_LIMIT:
                    raise
        return self._exit_code

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._until_next()):
            key.data()
        self._tick()

    # Time

    def _until_next(self) -> float | None:
        now = self._clock.monotonic()
        due = self._children.deadlines + [at for at in (self._deadline, self._logs.next_look) if at is not None]
        if self._children.unsettled or self._phase in (Phase.SWEEPING, Phase.KILLING):
            due.append(now + _POLL)
        if not prctl.AVAILABLE:
            # Nothing else tells that the anchor has been killed.
            due.append(now + _PARENT_POLL)
        return max(0.0, min(due) - now) if due else None

    def _tick(self) -> None:
        now = self._clock.monotonic()
        if os.getppid() != self._settings.public_pid and self._phase is not Phase.KILLING:
            # The anchor was killed. Where there are parent-death signals, one has just woken us.
            self._enter_killing(128 + signal.SIGKILL)
        for child in self._children.clean(now):
            if child.listed:
                self._link.publish({"event": "cleared", "id": child.id})
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            self._logs.look(now)
        if self._phase is Phase.KILLING:
            self._kill_everything()
        elif self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._on_deadline()

    def _on_deadline(self) -> None:
        if self._phase is Phase.RUNNING:
            self._start_control_plane()
        elif self._phase is Phase.DRAINING and self._control is not None:
            self._log.say(f"the control plane did not stop within {self._patience:g} s: killed")
            self._children.signal(self._control, signal.SIGKILL, group=True)
        else:
            self._enter_killing(self._exit_code)

    def _finished(self) -> bool:
        if self._phase is Phase.KILLING and self._deadline is not None and self._clock.monotonic() > self._deadline:
            self._log.say("some processes could not be killed")
            return True
        if self._phase not in (Phase.SWEEPING, Phase.KILLING):
            return False
        return not self._children.living and not procfs.descendants(os.getpid())

    # Signals

    def _on_signals(self) -> None:
        for signum in self._signals.read():
            if signum in _STOP_SIGNALS:
                self._on_stop_signal(signum)
            elif signum == signal.SIGHUP:
                self._ask_to_reload()
        self._reap()

    def _ask_to_reload(self) -> None:
        # One that has not come up yet has no handler for it, and has just read its configuration, or will.
        if self._control is not None and self._backoff.serves:
            self._children.signal(self._control, signal.SIGHUP, group=False)

    def _on_stop_signal(self, signum: int) -> None:
        if self._phase is not Phase.RUNNING:
            self._enter_killing(128 + signum)
        elif self._control is not None:
            self._log.say(f"stopping; the control plane has {self._patience:g} s for it")
            self._phase = Phase.DRAINING
            self._deadline = self._clock.monotonic() + self._patience
            self._children.signal(self._control, signal.SIGTERM, group=False)
        else:
            self._enter_sweeping(0)

    # The control plane

    def _start_control_plane(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {**self._settings.environment, "TEKTON_GUARD_FD": str(theirs.fileno())}
        log = os.path.join(self._settings.data_dir, "logs", "tekton.log")
        command = Command(
            self._settings.control_plane, environment, os.getcwd(), log, die_with_parent=False, keep=theirs.fileno()
        )
        self._backoff.starts += 1
        self._backoff.started_at = self._clock.monotonic()
        try:
            self._control = self._children.start(Order("control-plane", {}, command, listed=False))
        except OSError as error:
            ours.close()
            self._restart_later(f"could not be started: {error}")
            return
        finally:
            theirs.close()
        self._logs.keep(log, Rotation())
        self._await_outcome(self._control, None)
        self._connect(ours)

    def _on_serving(self, _: Message) -> None:
        self._backoff.came_up()

    def _connect(self, connection: socket.socket) -> None:
        self._link.open(connection)
        self._incarnation += 1
        running = [child for child in self._children if child.listed and child.id not in self._awaited]
        self._link.publish(
            {
                "event": "hello",
                "pid": self._settings.public_pid,
                "run_id": self._settings.run_id,
                "incarnation": self._incarnation,
                "children": [child.describe() for child in running],
            }
        )

    def _on_control_plane_ended(self, child: Child) -> None:
        self._link.close()
        self._control = None
        code = child.exit.code if child.exit else None
        if self._phase is Phase.DRAINING:
            self._enter_sweeping(code if code is not None else 1)
        elif self._phase is Phase.RUNNING and self._is_final(code):
            self._enter_sweeping(code or 0)
        elif self._phase is Phase.RUNNING and self._backoff.starts >= self._settings.failed_starts:
            self._log.say(f"the control plane ended: {child.exit}, in start {self._backoff.starts} in a row: giving up")
            self._enter_sweeping(code or 1)
        elif self._phase is Phase.RUNNING:
            self._restart_later(f"ended: {child.exit}")

    def _is_final(self, code: int | None) -> bool:
        return code in FINAL_EXIT_CODES or (code == CANNOT_WRITE and not self._backoff.has_served)

    def _restart_later(self, why: str) -> None:
        now = self._clock.monotonic()
        delay = self._backoff.next(now)
        self._log.say(f"the control plane {why}; it is started again in {delay:g} s")
        self._deadline = now + delay

    def _on_link_closed(self, why: str) -> None:
        if self._control is None:
            self._enter_sweeping(0)
        elif self._phase is Phase.RUNNING:
            # Mostly it is about to end by itself. If it is not, it can do nothing for us any more.
            self._log.say(f"the control plane's connection ended: {why}")
            self._control.kill_at = self._clock.monotonic() + _SWEEP_GRACE

    def _on_link_stuck(self) -> None:
        if self._control is not None:
            self._log.say("the control plane does not read what it is told: killed")
            self._children.signal(self._control, signal.SIGKILL, group=True)

    # Requests

    def _serve(self, request: Message) -> None:
        try:
            self._operations[request["op"]](request)
        except (KeyError, TypeError, ValueError) as error:
            self._link.publish({"seq": request.get("seq"), "error": f"bad request: {error}", "errno": 0})

    def _spawn(self, request: Message) -> None:
        if self._phase is not Phase.RUNNING:
            raise ValueError("everything is being stopped")
        order = read_order(request, self._settings.environment)
        try:
            child = self._children.start(order)
        except OSError as error:
            self._link.publish({"seq": request["seq"], "error": str(error), "errno": error.errno})
        else:
            self._note_log(child, order)
            self._await_outcome(child, request["seq"])

    def _signal(self, request: Message) -> None:
        child = self._children.find(request["id"])
        sent = child is not None and self._children.signal(child, request["signal"], group=request["group"])
        self._link.publish({"seq": request["seq"], "sent": sent})

    def _stop(self, request: Message) -> None:
        child = self._children.find(request["id"])
        kill_at = self._clock.monotonic() + request["grace"]
        sent = child is not None and self._children.stop(child, kill_at)
        self._link.publish({"seq": request["seq"], "sent": sent})

    def _be_patient(self, request: Message) -> None:
        self._patience = max(self._settings.drain_timeout, float(request["seconds"]))

    def _acknowledge(self, request: Message) -> None:
        child = self._children.find(request["id"])
        if child is not None:
            self._children.acknowledge(child)

    # Children

    def _note_log(self, child: Child, order: Order) -> None:
        if child.spawned.log_problem is None:
            self._logs.keep(order.command.log, order.rotation)
        else:
            self._log.say(f"the output of {child.name} is not kept: {child.spawned.log_problem}")

    def _await_outcome(self, child: Child, seq: int | None) -> None:
        self._awaited[child.id] = _Caller(self._incarnation, seq)
        self._selector.register(child.spawned.outcome, selectors.EVENT_READ, partial(self._on_outcome, child))

    def _on_outcome(self, child: Child) -> None:
        if child.id not in self._awaited:
            return
        caller = self._awaited.pop(child.id)
        self._selector.unregister(child.spawned.outcome)
        failure = child.read_outcome()
        if failure is not None:
            self._children.forget(child)
        if not child.listed:
            self._on_control_plane_outcome(failure)
        elif caller.incarnation != self._incarnation:
            # The control plane that wanted it is dead, and the next one has been told who is there.
            self._children.stop(child, self._clock.monotonic())
            self._children.acknowledge(child)
        elif failure is not None:
            self._link.publish({"seq": caller.seq, "error": failure.reason, "errno": failure.errno})
        else:
            self._link.publish({"seq": caller.seq, "child": child.describe()})

    def _on_control_plane_outcome(self, failure: Failure | None) -> None:
        # A later failure shows as exit code 127, and is tried again.
        if failure is not None and self._incarnation == 1:
            self._log.complain(f"the control plane could not be started: {failure.reason}")
            self._enter_sweeping(127)

    def _reap(self) -> None:
        for child in self._children.reap(self._logs.on_ended):
            # Its program may have ended before we saw that it had begun.
            self._on_outcome(child)
            if child is self._control:
                self._on_control_plane_ended(child)
            elif child.exit is not None and self._children.find(child.id) is not None:
                self._link.publish({"event": "exited", "id": child.id, **child.exit._asdict()})

    # The end

    def _enter_sweeping(self, exit_code: int) -> None:
        if self._phase in (Phase.SWEEPING, Phase.KILLING):
            return
        self._phase, self._exit_code = Phase.SWEEPING, exit_code
        self._deadline = self._clock.monotonic() + _SWEEP_GRACE
        groups = {child.pid for child in self._children.living}
        for child in self._children.living:
            self._children.stop(child, self._deadline)
        for process in procfs.descendants(os.getpid()):
            if process.group not in groups:
                procfs.send(process, signal.SIGTERM)

    def _enter_killing(self, exit_code: int) -> None:
        self._phase, self._exit_code = Phase.KILLING, exit_code
        self._deadline = self._clock.monotonic() + _KILL_LIMIT
        self._kill_everything()

    def _kill_everything(self) -> None:
        for child in self._children.living:
            self._children.signal(child, signal.SIGKILL, group=True)
        procfs.kill_all(procfs.descendants(os.getpid()))
