"""Signals as something that a selector can wait for."""

import signal
import socket
from collections.abc import Iterable


class SignalSource:
    """Becomes readable when one of *signals* has arrived. They are unblocked from the beginning."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._receiver, self._sender = socket.socketpair()
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for signum in signals:
            signal.signal(signum, _note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._receiver.fileno()

    def read(self) -> list[int]:
        """What has arrived, in order; a signal that came again before it was handled may be there once."""
        return list(self._receiver.recv(4096))


def _note(_signum: int, _frame: object) -> None:
    """A handler must exist for the signal to reach the socket."""
