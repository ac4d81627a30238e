"""What a handler is done with is known, of the newest."""

from tekton.bus.envelope import Envelope
from tekton.component.done_work import DoneWork
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message


def order(sequence: int) -> Envelope:
    return Envelope("orders.new", Message("event", None, MessageContext("ann")), None, sequence)


def test_what_was_done_is_known_until_it_is_the_oldest_of_too_many() -> None:
    done, orders = DoneWork(2), [order(number) for number in range(3)]

    for one in orders:
        done.add(one)

    assert [one in done for one in orders] == [False, True, True]


def test_another_message_under_the_same_number_is_another_one() -> None:
    done = DoneWork()
    done.add(order(1))

    assert order(1) not in done


def test_what_begins_anew_is_not_done() -> None:
    done, one = DoneWork(), order(1)
    done.add(one)
    done.clear()

    assert one not in done
