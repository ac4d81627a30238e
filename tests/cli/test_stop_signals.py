"""The signals that ask a command to stop, among them those that the main thread does not hear of."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tekton.cli.stop_signals import StopSignals

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held back here")


@pytest.fixture
def deaf_main_thread() -> Iterator[None]:
    """The main thread is not interrupted, as when the signal came right before it blocks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("deaf_main_thread")
def test_a_blocked_main_thread_keeps_no_signal_back(signum: signal.Signals) -> None:
    told = threading.Event()
    with StopSignals() as signals:
        signals.listen(told.set)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
        os.kill(os.getpid(), signum)

        assert told.wait(20)


def test_what_came_before_anybody_listened_is_told() -> None:
    heard: list[int] = []
    both = threading.Event()

    def listener() -> None:
        heard.append(1)
        if len(heard) == 2:
            both.set()

    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        signals.listen(listener)

        assert both.wait(20)


def test_what_is_ignored_stays_ignored() -> None:
    told = threading.Event()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signals.listen(told.set)
            os.kill(os.getpid(), signal.SIGHUP)
        assert not told.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_all_is_as_before_afterwards() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with StopSignals():
        pass
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1
