"""A thread of its own for what may block."""

import threading

import pytest

from tekton.core.history.worker import MOST_JOBS, Worker
from tekton.utils.tekton_errors import StorageError


@pytest.fixture
def worker() -> Worker:
    return Worker("the worker")


def test_jobs_are_done_one_after_the_other(worker: Worker) -> None:
    done: list[int] = []
    futures = [worker.submit(lambda number=number: done.append(number)) for number in range(100)]  # type: ignore[misc]
    worker.stop()

    assert [future.result(10) for future in futures] == [None] * 100
    assert done == list(range(100))


def test_what_a_job_raises_is_for_who_asked(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(10)

    assert worker.submit(lambda: 1).result(10) == 1
    worker.stop()


def test_while_one_hangs_only_so_many_wait(worker: Worker) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        let_go.wait()

    worker.submit(hang)
    begun.wait()
    waiting = [worker.submit(lambda: None) for _ in range(MOST_JOBS)]

    with pytest.raises(StorageError, match="1000 requests wait"):
        worker.submit(lambda: None)

    let_go.set()
    waiting[-1].result(10)
    assert worker.submit(lambda: 1).result(10) == 1
    worker.stop()


def test_after_the_end_nothing_is_taken_on(worker: Worker) -> None:
    worker.stop()

    with pytest.raises(StorageError, match="has stopped"):
        worker.submit(lambda: None)
