"""The signals with which somebody asks a command in the foreground to stop."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP call whoever listens, in a thread of their own; none of them is lost.

    Python calls a handler only when the main thread is between two of its steps, and a signal that comes right before
    the main thread blocks, on a socket say, is heard of when that call returns: perhaps never.
    """

    def __init__(self) -> None:
        self._noted, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._thread: threading.Thread | None = None
        self._previous: dict[int, Any] = {}
        self._previous_wakeup = -1

    def __enter__(self) -> Self:
        wanted = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if sys.platform != "win32" else [])
        # What is ignored was ignored on purpose, by nohup or by a shell that runs us in the background.
        heeded = [signum for signum in wanted if signal.getsignal(signum) is not signal.SIG_IGN]
        self._previous_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._previous = {signum: signal.signal(signum, _noted) for signum in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._wakeup.close()
        if self._thread is not None:
            self._thread.join()
        self._noted.close()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* for every signal from now on, and for those that came before."""
        self._thread = threading.Thread(target=self._tell, args=(listener,), name="stop signals", daemon=True)
        self._thread.start()

    def _tell(self, listener: Callable[[], None]) -> None:
        while numbers := self._noted.recv(64):
            for signum in numbers:
                if signum in self._previous:
                    listener()


def _noted(_signum: int, _frame: FrameType | None) -> None:
    """The number of the signal is in the socket already."""
