"""How many deliveries one who consumes lets come."""

from tekton.utils.bus_demand import MOST, Demand


def work(demand: Demand, *, each: float, count: int) -> int:
    """Take so many deliveries, each of which takes *each* seconds; how many wait then."""
    now = 0.0
    waiting = demand.begin()
    demand.came(waiting)
    for _ in range(count):
        demand.asked(now)
        more = demand.more(waiting)
        demand.came(more)
        waiting += more - 1
        demand.took(now)
        now += each
    return waiting


def test_at_first_one_may_come() -> None:
    assert Demand().begin() == 1


def test_who_works_slowly_gets_one_at_a_time() -> None:
    assert work(Demand(), each=1.0, count=20) == 0


def test_who_works_fast_has_what_he_takes_in_a_moment() -> None:
    assert 4 <= work(Demand(), each=0.01, count=100) <= 10


def test_there_is_a_limit() -> None:
    demand = Demand()

    assert work(demand, each=0.0, count=500) <= MOST
    assert demand.begin() == MOST


def test_who_takes_batches_can_have_a_whole_one() -> None:
    demand = Demand()
    demand.came(demand.begin())

    demand.asked(0.0, 100)

    assert demand.more(1) == 99


def test_who_is_busy_for_long_gets_nothing_more_until_he_is_done_and_is_slow_then() -> None:
    demand = Demand()
    work(demand, each=0.0, count=500)
    assert demand.begin() == MOST
    demand.took(0.0)

    assert demand.pause() == MOST
    assert demand.more(0) == 0
    demand.came(3)  # they were on their way already
    assert demand.pause() == 0
    demand.asked(10.0)

    assert demand.more(0) == 4
    assert demand.pause() == 1


def test_a_connection_that_comes_while_he_is_busy_brings_one() -> None:
    demand = Demand()
    work(demand, each=0.0, count=500)
    demand.pause()

    assert (demand.begin(), demand.more(0)) == (1, 0)


def test_a_little_is_not_asked_for() -> None:
    demand = Demand()
    work(demand, each=0.0, count=500)
    demand.came(demand.begin())

    assert demand.more(MOST - 10) == 0
    assert demand.more(MOST - 40) == 40
