import threading
from pathlib import Path

from tekton.testing.history import History, reduced


def test_time_is_the_order_of_calls_and_returns() -> None:
    history = History()

    first = history.invoke("c1", "a", "register", "i", "1")
    second = history.invoke("c2", "a", "read")
    history.returned(second)
    history.refused(first, "component_exists")

    assert [(one.begin, one.end) for one in history] == [(0, 3), (1, 2)]
    assert (first.outcome, first.result) == ("refused", ("component_exists",))


def test_what_is_never_heard_of_again_is_unknown() -> None:
    history = History()

    operation = history.invoke("c", "a", "read")

    assert (operation.end, operation.outcome) == (None, "unknown")


def test_a_history_comes_back_from_its_file_and_goes_on(tmp_path: Path) -> None:
    history = History()
    history.returned(history.invoke("c", "a", "register", "i", "1"), "i", "registering", 1, "1")
    history.failed(history.invoke("c", "b", "read"), "storage_full")
    history.invoke("c", "b", "read")

    history.save(tmp_path / "history.jsonl")
    loaded = History.load(tmp_path / "history.jsonl")

    assert list(loaded) == list(history)
    assert loaded.invoke("c", "c", "read").begin == 5


def test_many_threads_record_one_order() -> None:
    history = History()

    def client(number: int) -> None:
        for _ in range(500):
            history.returned(history.invoke(f"c{number}", "a", "read"))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    instants = [instant for one in history for instant in (one.begin, one.end)]
    assert len(history) == 2000
    assert sorted(instants) == list(range(4000))  # type: ignore[type-var]


def test_a_failing_case_is_reduced_to_what_it_needs() -> None:
    needed = reduced(list(range(100)), lambda items: {17, 63} <= set(items))

    assert needed == [17, 63]


def test_what_does_not_fail_without_one_of_its_parts_is_not_reduced() -> None:
    assert reduced([1, 2, 3], lambda items: len(items) == 3) == [1, 2, 3]
