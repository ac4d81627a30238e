"""How often and how fast a request is sent again."""

import random

from tekton.utils.retries import Retries, one_layer


def test_delays_are_spread_from_nothing_to_a_limit_that_doubles() -> None:
    retries = Retries(backoff=(0.1, 0.5), rng=random.Random(1))

    for failures, limit in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (9, 0.5)):
        delays = [retries.delay(failures) for _ in range(500)]
        assert min(delays) < limit * 0.05
        assert limit * 0.95 < max(delays) <= limit


def test_the_budget_lets_few_retries_through_and_then_a_tenth_of_the_requests() -> None:
    retries = Retries(savings=5, share=0.1)

    def storm(requests: int) -> int:
        spent = 0
        for _ in range(requests):
            retries.earn()
            spent += retries.spend()
        return spent

    assert storm(10) == 5
    assert 8 <= storm(100) <= 12


def test_savings_do_not_grow_without_end() -> None:
    retries = Retries(savings=3)
    for _ in range(1000):
        retries.earn()

    assert [retries.spend() for _ in range(4)] == [True, True, True, False]


def test_inside_an_attempt_that_is_made_again_the_budget_is_empty() -> None:
    retries = Retries(savings=3)

    with one_layer():
        with one_layer():
            assert not retries.spend()
        assert not retries.spend()

    assert retries.spend()
