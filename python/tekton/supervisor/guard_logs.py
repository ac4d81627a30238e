"""The guard's watch over the sizes of the logs.

Rotating copies up to `max_size` bytes and may wait for a slow disk, so a forked process does it, one log at a time. The
guard itself only looks at sizes: every second, and ten times a second while a log grows quickly.
"""

import os
import signal
from dataclasses import dataclass
from typing import Final, NoReturn

from tekton.clock import Clock
from tekton.supervisor import prctl
from tekton.supervisor.guard_log import GuardLog
from tekton.supervisor.log_rotation import Rotation, rotate

_LOOK_EVERY: Final = 1.0
_LOOK_SOON: Final = 0.1
_RETRY_AFTER: Final = 60.0
_TELL_AGAIN_AFTER: Final = 60.0
_FAILED: Final = 1
_DROPPED: Final = 2
_QUICK: Final = 0.1
"""A log that has grown by this part of what it may hold, from one look to the next, grows quickly."""


@dataclass(slots=True)
class _Kept:
    rotation: Rotation
    size: int = 0
    not_before: float = 0.0
    quiet_until: float = 0.0

    @property
    def too_large(self) -> bool:
        return self.size > self.rotation.max_size

    @property
    def excess(self) -> float:
        return self.size / self.rotation.max_size


class LogKeeper:
    """Keeps logs at their size."""

    def __init__(self, log: GuardLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._logs: dict[str, _Kept] = {}
        self._rotator: tuple[int, str] | None = None
        self.next_look: float | None = None

    def keep(self, path: str, rotation: Rotation) -> None:
        """A process writes to *path* from now on."""
        self._logs[path] = _Kept(rotation)
        self.next_look = self._clock.monotonic()

    def look(self, now: float) -> None:
        """Have the log rotated that most exceeds its size, when it is time for a look."""
        if self.next_look is None or now < self.next_look:
            return
        quick = [kept for path, kept in self._logs.items() if self._measure(path, kept)]
        self.next_look = now + (_LOOK_SOON if quick else _LOOK_EVERY)
        due = [path for path, kept in self._logs.items() if kept.too_large and now >= kept.not_before]
        if due and self._rotator is None:
            self._rotate(max(due, key=lambda path: self._logs[path].excess))

    def on_ended(self, pid: int, status: int) -> None:
        """A process that is no child of ours to others has ended: perhaps the one that rotates."""
        if self._rotator is None or pid != self._rotator[0]:
            return
        kept = self._logs[self._rotator[1]]
        self._rotator = None
        now = self.next_look = self._clock.monotonic()
        # What it holds at the next look was written meanwhile.
        kept.size = 0
        code = os.waitstatus_to_exitcode(status)
        if code == _DROPPED and now >= kept.quiet_until:
            kept.quiet_until = now + _TELL_AGAIN_AFTER
        elif code == _FAILED:
            kept.not_before = now + _RETRY_AFTER

    def _measure(self, path: str, kept: _Kept) -> bool:
        before = kept.size
        try:
            kept.size = os.stat(path).st_size
        except OSError:
            kept.size = 0
        return kept.size - before > _QUICK * kept.rotation.max_size

    def _rotate(self, path: str) -> None:
        parent = os.getpid()
        # A signal must not run the handlers of the guard in its child.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                self._run(path, parent)
            self._rotator = pid, path
        except OSError as error:
            self._log.say(f"{path} is not rotated: {error.strerror}")
            self._logs[path].not_before = self._clock.monotonic() + _RETRY_AFTER
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _run(self, path: str, parent: int) -> NoReturn:
        code, kept = _FAILED, self._logs[path]
        try:
            _default_stop_signals()
            prctl.die_with_parent(parent, signal.SIGKILL)
            prctl.set_name("tekton-rotate")
            dropped = rotate(path, kept.rotation)
            if dropped and self._clock.monotonic() >= kept.quiet_until:
                self._log.say(f"{path} grows faster than it can be kept: its oldest {dropped} bytes were dropped")
            code = _DROPPED if dropped else 0
        except OSError as error:
            self._log.say(f"{path} is not rotated: {error.strerror}")
        finally:
            os._exit(code)


def _default_stop_signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
