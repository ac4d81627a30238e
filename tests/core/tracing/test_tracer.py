import asyncio
from collections.abc import Iterator
from contextvars import copy_context

import pytest

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.core.tracing import NOTHING, Span, Tracer, span
from tekton.core.tracing.sampling import Sampler
from tekton.core.tracing.span import MAX_ATTRIBUTES, MAX_EVENTS
from tekton.core.tracing.tracer import NO_TRACER
from tekton.testing.clock import ManualClock
from tekton.utils.trace_context import CURRENT, TraceContext, new_trace

REMOTE = TraceContext("a" * 32, "b" * 16, True, "vendor=1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
def tracer(spans: list[Span], clock: ManualClock) -> Tracer:
    return Tracer("rhetor", spans.append, instance="one", clock=clock)


@pytest.fixture(autouse=True)
def _outside() -> Iterator[None]:
    yield
    assert CURRENT.get() is None


def test_a_span_tells_when_and_how_long(tracer: Tracer, spans: list[Span], clock: ManualClock) -> None:
    began = clock.time()

    with tracer.begin("work", "server", route="/x"):
        clock.advance(1.5)

    [made] = spans
    assert (made.name, made.kind, made.component, made.instance) == ("work", "server", "rhetor", "one")
    assert (made.started_at, made.duration, made.status) == (began, 1.5, "unset")
    assert (made.parent_id, made.attributes) == ("", {"route": "/x"})


def test_a_wall_clock_that_jumps_does_not_change_how_long(
    tracer: Tracer, spans: list[Span], clock: ManualClock
) -> None:
    with tracer.begin("work"):
        clock.advance(2.0)
        clock.set_wall(0.0)

    assert spans[0].duration == 2.0


def test_a_span_may_have_begun_before_it_was_made(tracer: Tracer, spans: list[Span], clock: ManualClock) -> None:
    wall, began = clock.time(), clock.monotonic()
    clock.advance(2.0)
    made = tracer.begin("start")
    made.began(began)
    clock.advance(1.0)
    made.end()

    assert (spans[0].started_at, spans[0].duration) == (wall, 3.0)


def test_spans_in_it_belong_to_it(tracer: Tracer, spans: list[Span]) -> None:
    with tracer.begin("outer"), span("middle", "client"), span("inner"):
        pass

    inner, middle, outer = spans
    assert (inner.parent_id, middle.parent_id, outer.parent_id) == (middle.span_id, outer.span_id, "")
    assert {one.trace_id for one in spans} == {outer.trace_id}


def test_what_is_done_outside_of_every_span_makes_none(spans: list[Span]) -> None:
    with span("work") as made:
        made.set(a=1)

    assert made is NOTHING
    assert spans == []


def test_the_context_is_that_of_the_innermost_span(tracer: Tracer) -> None:
    with tracer.begin("outer") as outer, span("inner") as inner:
        assert CURRENT.get() == inner.context
        assert inner.context != outer.context


def test_a_span_joins_the_trace_that_somebody_has_sent(tracer: Tracer, spans: list[Span]) -> None:
    with tracer.begin("work", parent=REMOTE) as made:
        assert made.context is not None
        assert made.context.state == "vendor=1"

    assert (spans[0].trace_id, spans[0].parent_id) == (REMOTE.trace_id, REMOTE.span_id)


def test_who_does_not_record_decides_for_us_and_is_passed_on(tracer: Tracer, spans: list[Span]) -> None:
    silent = REMOTE._replace(sampled=False)

    with tracer.begin("work", parent=silent), span("inner"):
        assert CURRENT.get() == silent

    assert spans == []


def test_begin_here_goes_on_where_one_is(tracer: Tracer, spans: list[Span]) -> None:
    with tracer.begin("request"), tracer.begin_here("job"):
        pass
    with tracer.begin_here("alone"):
        pass

    job, request, alone = spans
    assert job.parent_id == request.span_id
    assert alone.trace_id != request.trace_id


def test_what_is_raised_makes_an_error_of_it_and_passes_through(tracer: Tracer, spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="odd"), tracer.begin("outer"):
        raise ValueError("odd")

    assert (spans[0].status, spans[0].message) == ("error", "ValueError: odd")


async def test_a_cancelled_span_says_so(tracer: Tracer, spans: list[Span]) -> None:
    async def work() -> None:
        with tracer.begin("work"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    assert spans[0].message == "cancelled"


def test_an_own_message_stays(tracer: Tracer, spans: list[Span]) -> None:
    made = tracer.begin("work")
    made.fail("out of tea")

    with pytest.raises(KeyError), made:
        raise KeyError("x")

    assert spans[0].message == "out of tea"


def test_what_is_too_much_is_counted(tracer: Tracer, spans: list[Span]) -> None:
    with tracer.begin("n" * 500) as made:
        for number in range(MAX_ATTRIBUTES + 3):
            made.set(**{f"k{number}": number})
        made.set(k0="again", k1="x" * 5000)
        for _ in range(MAX_EVENTS + 2):
            made.event("tick", n=1)

    assert (len(spans[0].attributes), len(spans[0].events), spans[0].dropped) == (MAX_ATTRIBUTES, MAX_EVENTS, 5)
    assert (spans[0].attributes["k0"], len(str(spans[0].attributes["k1"])), len(spans[0].name)) == ("again", 1024, 128)


def test_values_are_what_json_can_say(tracer: Tracer, spans: list[Span]) -> None:
    with tracer.begin("work", yes=True, n=1, low=-(2**70), real=0.5, nan=float("nan"), none=None, path=["a"]):
        pass

    assert spans[0].attributes == {
        "yes": True, "n": 1, "low": str(-(2**70)), "real": 0.5, "nan": "nan", "none": "None", "path": "['a']",
    }  # fmt: skip


async def test_tasks_begun_in_a_span_go_on_in_it(tracer: Tracer, spans: list[Span]) -> None:
    async def work() -> None:
        with span("inner"):
            pass

    with tracer.begin("outer"):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
        await asyncio.to_thread(lambda: span("thread").__enter__().end())

    assert [one.name for one in spans] == ["inner", "thread", "outer"]
    assert spans[0].parent_id == spans[1].parent_id == spans[2].span_id


async def test_a_background_task_belongs_to_nobody_but_what_a_group_spawns_goes_on(tracer: Tracer) -> None:
    seen: list[TraceContext | None] = []

    async def look() -> None:
        seen.append(CURRENT.get())

    task, group = BackgroundTask("test"), BackgroundGroup("test")
    with tracer.begin("request") as made:
        task.start(look())
        await group.spawn(look(), "look")
        await task.join()
        await task.stop()

    assert seen in ([None, made.context], [made.context, None])


async def test_what_outlives_its_span_makes_no_more_of_them(tracer: Tracer, spans: list[Span]) -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        with span("late"):
            pass

    async with asyncio.TaskGroup() as group:
        with tracer.begin("outer"):
            group.create_task(work())
            await asyncio.sleep(0)
        go.set()

    assert [one.name for one in spans] == ["outer"]


def test_a_flood_of_new_traces_is_cut_and_leaves_no_trace(spans: list[Span], clock: ManualClock) -> None:
    tracer = Tracer("a", spans.append, clock=clock, sampler=Sampler(1.0, clock.monotonic, new_traces=(10.0, 5.0)))

    for _ in range(100):
        with tracer.begin("request") as made:
            assert made.recorded or CURRENT.get() is None
    assert len(spans) == 5

    clock.advance(0.25)
    for _ in range(100):
        tracer.begin("request").end()
    assert len(spans) == 7


def test_a_flood_of_requests_that_want_to_be_recorded_is_cut_but_passed_on(
    spans: list[Span], clock: ManualClock
) -> None:
    tracer = Tracer("a", spans.append, clock=clock, sampler=Sampler(1.0, clock.monotonic, joined=(1.0, 2.0)))

    for _ in range(10):
        with tracer.begin("request", parent=REMOTE):
            context = CURRENT.get()
            assert context is not None
            assert context.trace_id == REMOTE.trace_id

    assert len(spans) == 2


def test_a_share_of_the_traces_is_recorded_the_same_one_everywhere(clock: ManualClock) -> None:
    some, more = (Sampler(ratio, clock.monotonic) for ratio in (0.25, 0.5))
    ids = [new_trace().trace_id for _ in range(2000)]

    chosen = {one for one in ids if some.chooses(one)}

    assert 300 < len(chosen) < 700
    assert chosen < {one for one in ids if more.chooses(one)}


def test_a_trace_that_is_not_chosen_is_not_recorded_anywhere(spans: list[Span], clock: ManualClock) -> None:
    tracer = Tracer("a", spans.append, clock=clock, ratio=1e-18)

    with tracer.begin("request"), span("inner"), tracer.begin_here("job"):
        context = CURRENT.get()
        assert context is not None
        assert not context.sampled

    assert spans == []


def test_a_value_that_has_no_text_does_no_harm(tracer: Tracer, spans: list[Span]) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with tracer.begin("work", odd=Odd()):
        pass

    assert spans[0].attributes == {"odd": "<Odd>"}


@pytest.mark.parametrize("tracer", [NO_TRACER])
def test_a_ratio_of_nothing_records_nothing(tracer: Tracer) -> None:
    assert tracer.begin("x") is NOTHING
    with tracer.begin("x", parent=REMOTE):
        assert CURRENT.get() == REMOTE


def test_activate_holds_for_the_rest_of_a_task(tracer: Tracer, spans: list[Span]) -> None:
    def work() -> None:
        made = tracer.begin("request", parent=REMOTE)
        made.activate()
        with span("inner"):
            pass
        made.end()
        assert CURRENT.get() == made.context

    copy_context().run(work)

    assert [one.name for one in spans] == ["inner", "request"]


async def test_a_span_that_ends_in_another_task_than_it_began_in_is_recorded(tracer: Tracer, spans: list[Span]) -> None:
    made = tracer.begin("work")

    async def enter() -> None:
        made.__enter__()

    await asyncio.ensure_future(enter())
    made.__exit__(None, None, None)

    assert [one.name for one in spans] == ["work"]


def test_nothing_takes_whatever_it_is_told() -> None:
    NOTHING.set(a=1)
    NOTHING.put({"b": 2})
    NOTHING.event("x", c=3)
    NOTHING.fail("y")
    NOTHING.activate()
    NOTHING.end()
    assert NOTHING.context is None
