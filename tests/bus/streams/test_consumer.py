"""A consumer: what is handed out to whom, how often, and what becomes of it. Without a clock and without a stream."""

import pytest

from tekton.bus.bus import ConsumerSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.consumer import DRAIN, Consumer, Dying, Handed
from tekton.bus.streams.pending_states import TRANSITIONS, Event, State
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

ANN, BOB = 1, 2
MESSAGE = Message("event", None, MessageContext("ann"))


def envelope(sequence: int) -> Envelope:
    return Envelope("orders.new", MESSAGE, None, sequence, 0.0, 1, "orders")


def consumer(last: int = 10, **settings: object) -> Consumer:
    """A consumer that has read *last* messages."""
    made = Consumer(ConsumerSettings(**settings), 0)  # type: ignore[arg-type]
    made.offer([envelope(one) for one in range(1, last + 1)], last, 0)
    return made


def find(made: Consumer, now: float) -> list[int]:
    """Read what is due again, all of which is there."""
    wanted = made.wanted(now)
    made.found(wanted, [envelope(one) for one in wanted])
    return wanted


def sequences(handed: list[Handed]) -> list[tuple[int, int]]:
    """Sequences and attempts."""
    return [(one.envelope.sequence, one.envelope.attempt) for one in handed]


def test_nothing_leads_out_of_done_and_every_other_state_leads_there() -> None:
    assert [state for state, _ in TRANSITIONS if state is State.DONE] == []
    assert {state for (state, _), after in TRANSITIONS.items() if after is State.DONE} == set(State) - {State.DONE}
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_messages_are_handed_out_in_order_and_each_to_one() -> None:
    made = consumer()

    first, second = made.take(ANN, 4, 2, 0.0), made.take(BOB, 4, 2, 0.0)

    assert sequences(first) == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert sequences(second) == [(5, 1), (6, 1), (7, 1), (8, 1)]
    assert (made.cursor, made.in_flight, made.acknowledged) == (8, 8, 0)


def test_what_is_acknowledged_is_done_once() -> None:
    made = consumer()
    one, two = made.take(ANN, 2, 1, 0.0)

    assert made.acknowledge(2, two.tag)
    assert made.acknowledged == 0
    assert made.acknowledge(1, one.tag)
    assert not made.acknowledge(1, one.tag)
    assert (made.acknowledged, made.in_flight, made.done) == (2, 0, [2, 1])


def test_no_more_is_in_flight_than_may_be() -> None:
    made = consumer(max_in_flight=3)

    handed = made.take(ANN, 10, 1, 0.0)

    assert len(handed) == 3
    assert made.take(ANN, 10, 1, 0.0) == []
    made.acknowledge(2, handed[1].tag)
    assert sequences(made.take(ANN, 10, 1, 0.0)) == [(4, 1)]


def test_who_shares_a_consumer_gets_his_share_of_what_may_be_in_flight() -> None:
    made = consumer(max_in_flight=5)

    assert len(made.take(ANN, 10, 2, 0.0)) == 3
    assert made.take(ANN, 10, 2, 0.0) == []
    assert len(made.take(BOB, 10, 2, 0.0)) == 2


def test_what_was_not_acknowledged_in_time_is_handed_out_again_before_what_is_new() -> None:
    made = consumer(ack_wait=30.0)
    made.take(ANN, 2, 1, 0.0)
    assert made.next_event(0.0) == 30.0

    assert made.expire(29.9) == []
    assert made.wanted(29.9) == []
    assert made.expire(30.0) == []
    assert find(made, 30.0) == [1, 2]
    assert sequences(made.take(BOB, 3, 2, 30.0)) == [(1, 2), (2, 2), (3, 1)]
    assert made.redelivered == 2


def test_an_acknowledgement_counts_until_somebody_else_has_the_message() -> None:
    made = consumer(ack_wait=30.0)
    one, two = made.take(ANN, 2, 2, 0.0)
    made.expire(30.0)

    assert made.acknowledge(1, one.tag)
    find(made, 30.0)
    [again] = made.take(BOB, 1, 2, 30.0)
    assert again.envelope.sequence == 2
    assert not made.acknowledge(2, two.tag)
    assert made.fail(2, two.tag, 30.0) is False
    assert not made.extend(2, two.tag, 30.0)
    assert made.reject(2, two.tag, "late") is None
    assert made.acknowledge(2, again.tag)


def test_the_dead_letter_has_the_reason_that_was_given_last() -> None:
    made = consumer(max_deliver=2, backoff=())
    [one] = made.take(ANN, 1, 1, 0.0)
    assert made.fail(1, one.tag, 0.0, None, "no paper") is True
    find(made, 0.0)
    [again] = made.take(ANN, 1, 1, 0.0)

    assert made.fail(1, again.tag, 0.0, None, "no ink") == Dying(1, 2, "no ink")
    made.unburied(1, 1.0)
    assert made.expire(1.0) == [Dying(1, 2, "no ink")]


def test_who_was_late_or_left_tells_nothing_so_the_reason_before_is_told_too() -> None:
    made = consumer(max_deliver=2, backoff=(), ack_wait=30.0)
    for one in made.take(ANN, 2, 1, 0.0):
        made.fail(one.envelope.sequence, one.tag, 0.0, None, "no paper")
    find(made, 0.0)
    made.take(ANN, 1, 2, 0.0)
    made.take(BOB, 1, 2, 5.0)

    assert made.leave(BOB, {}, 9.0) == [Dying(2, 2, "whoever had it left; before that: no paper")]
    assert made.expire(30.0) == [Dying(1, 2, "not acknowledged within 30 s; before that: no paper")]


def test_who_gives_no_reason_leaves_the_one_before() -> None:
    made = consumer(max_deliver=2, backoff=())
    [one] = made.take(ANN, 1, 1, 0.0)
    made.fail(1, one.tag, 0.0, None, "no paper")
    find(made, 0.0)
    [again] = made.take(ANN, 1, 1, 0.0)

    assert made.fail(1, again.tag, 0.0) == Dying(1, 2, "not done; before that: no paper")


def test_in_progress_begins_the_ack_wait_anew() -> None:
    made = consumer(ack_wait=30.0)
    [one] = made.take(ANN, 1, 1, 0.0)

    assert made.extend(1, one.tag, 29.0)

    assert made.next_event(29.0) == 59.0
    made.expire(58.9)
    assert made.wanted(58.9) == []
    made.expire(59.0)
    assert made.wanted(59.0) == [1]


def test_what_fails_comes_later_and_later_and_then_dies() -> None:
    made = consumer(last=1, backoff=(0.0, 1.0, 5.0), max_deliver=5)
    now = 0.0
    for attempt, pause in enumerate((0.0, 1.0, 5.0, 5.0), 1):
        [one] = made.take(ANN, 1, 1, now)
        assert one.envelope.attempt == attempt
        assert made.fail(1, one.tag, now) is True
        assert made.next_event(now) == (now + pause if pause else None)
        now += pause
        find(made, now)
    [last] = made.take(ANN, 1, 1, now)

    assert made.fail(1, last.tag, now) == Dying(1, 5, "not done")
    assert made.in_flight == 1
    assert not made.acknowledge(1, last.tag)
    made.buried(1)
    assert (made.in_flight, made.dead_letters, made.acknowledged, made.done) == (0, 1, 1, [1])


def test_who_fails_may_say_when_he_wants_it_again() -> None:
    made = consumer()
    [one] = made.take(ANN, 1, 1, 0.0)

    made.fail(1, one.tag, 0.0, 100.0)

    assert made.next_event(0.0) == 100.0


def test_what_is_rejected_dies_at_once() -> None:
    made = consumer()
    [one] = made.take(ANN, 1, 1, 0.0)

    assert made.reject(1, one.tag, "no such customer") == Dying(1, 1, "no such customer")
    assert made.reject(1, one.tag, "twice") is None


def test_a_dead_letter_that_could_not_be_written_is_tried_again() -> None:
    made = consumer(max_deliver=1)
    [one] = made.take(ANN, 1, 1, 0.0)
    made.fail(1, one.tag, 0.0)

    made.unburied(1, until=5.0)

    assert made.next_event(0.0) == 5.0
    assert made.wanted(5.0) == []
    assert made.expire(5.0) == [Dying(1, 1, "not acknowledged")]


def test_what_the_stream_has_dropped_meanwhile_is_counted() -> None:
    made = consumer()
    made.take(ANN, 2, 1, 0.0)
    made.expire(30.0)

    made.found(made.wanted(30.0), [envelope(2)])

    assert made.lost == 1
    assert sequences(made.take(ANN, 1, 1, 30.0)) == [(2, 2)]


def test_what_was_dropped_before_it_was_read_is_counted() -> None:
    made = consumer(last=3)
    made.take(ANN, 3, 1, 0.0)

    made.offer([envelope(9)], 9, 8)

    assert made.lost == 5
    assert sequences(made.take(ANN, 3, 1, 0.0)) == [(9, 1)]


def test_who_leaves_gives_back_what_he_has() -> None:
    made = consumer()
    made.take(ANN, 2, 2, 0.0)
    made.take(BOB, 2, 2, 0.0)

    assert made.leave(ANN, {}, 1.0) == []

    assert find(made, 1.0) == [1, 2]
    assert made.in_flight == 4


def test_what_the_one_who_left_has_not_looked_at_does_not_count_as_an_attempt() -> None:
    made = consumer(max_deliver=1)
    one, two = made.take(ANN, 2, 1, 0.0)

    dying = made.leave(ANN, {2: two.tag}, 1.0)

    assert dying == [Dying(1, 1, "whoever had it left")]
    find(made, 1.0)
    assert sequences(made.take(BOB, 1, 1, 1.0)) == [(2, 1)]
    assert made.redelivered == 0
    assert one.envelope.sequence == 1


def test_what_nobody_has_begun_with_is_handed_out_again_at_once_and_counts_as_no_attempt() -> None:
    made = consumer(max_deliver=1, backoff=(5.0,))
    one, two = made.take(ANN, 2, 1, 0.0)

    assert made.release(2, two.tag, 1.0)
    assert not made.release(2, two.tag, 1.0)
    assert not made.release(1, two.tag, 1.0)

    assert find(made, 1.0) == [2]
    assert sequences(made.take(BOB, 1, 2, 1.0)) == [(2, 1)]
    assert (made.in_flight, made.redelivered) == (2, 0)
    assert made.acknowledge(1, one.tag)


def test_a_message_whose_holder_left_is_handed_out_alone() -> None:
    made = consumer()
    made.take(ANN, 3, 1, 0.0)
    made.leave(ANN, {}, 1.0)
    find(made, 1.0)

    [suspect] = made.take(BOB, 10, 1, 1.0)

    assert suspect.envelope.sequence == 1
    assert made.take(BOB, 10, 1, 1.0) == []
    made.acknowledge(1, suspect.tag)
    assert sequences(made.take(BOB, 10, 1, 1.0)) == [(2, 2)]


def test_a_poison_message_takes_no_other_message_along() -> None:
    made = consumer(last=20, backoff=(0.0,))
    dead: list[Dying] = []
    now = 0.0
    done: list[int] = []
    for holder in range(1, 100):
        while handed := made.take(holder, 8, 1, now):
            if any(one.envelope.sequence == 3 for one in handed):
                break
            for one in handed:
                assert made.acknowledge(one.envelope.sequence, one.tag)
                done.append(one.envelope.sequence)
        else:
            break
        dead += made.leave(holder, {}, now)
        now += 1
        find(made, now)

    assert dead == [Dying(3, 5, "whoever had it left")]
    assert sorted(done) == [1, 2, *range(4, 21)]


def test_who_never_has_nothing_gets_it_after_a_moment_too() -> None:
    made = consumer()
    made.take(ANN, 1, 2, 0.0)
    made.take(BOB, 1, 2, 0.0)
    made.leave(ANN, {}, 1.0)
    find(made, 1.0)

    assert made.take(BOB, 1, 1, 1.0) == []
    assert made.next_event(1.0) == 1.0 + DRAIN
    assert sequences(made.take(BOB, 1, 1, 1.0 + DRAIN)) == [(1, 2)]
    assert made.take(BOB, 1, 1, 1.5 + DRAIN) == []
    assert sequences(made.take(BOB, 1, 1, 1.0 + 2 * DRAIN)) == [(3, 1)]


def test_what_was_in_flight_before_a_restart_is_handed_out_again_and_counts() -> None:
    made = Consumer(ConsumerSettings(max_deliver=3), 7, [(4, 1), (6, 3)], now=5.0)

    assert (made.cursor, made.acknowledged, made.in_flight) == (7, 3, 2)
    assert made.expire(5.0) == [Dying(6, 3, "not acknowledged")]
    assert find(made, 5.0) == [4]
    assert sequences(made.take(ANN, 1, 1, 5.0)) == [(4, 2)]


def test_what_is_passed_over_counts_as_read() -> None:
    made = Consumer(ConsumerSettings(filter="orders.paid"), 0)

    made.offer([envelope(3)], 100, 0)
    assert made.cursor == 0
    [one] = made.take(ANN, 10, 1, 0.0)

    assert made.cursor == 100
    assert made.acknowledged == 2
    made.acknowledge(3, one.tag)
    assert made.acknowledged == 100


@pytest.mark.parametrize("backoff", [(), (0.0,), (2.0, 1.0)])
def test_any_backoff_will_do(backoff: tuple[float, ...]) -> None:
    made = consumer(backoff=backoff)
    [one] = made.take(ANN, 1, 1, 0.0)

    made.fail(1, one.tag, 0.0)

    assert find(made, 2.0) == [1]
