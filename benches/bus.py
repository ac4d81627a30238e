"""The bus in one process: one to one, one to a hundred, a hundred to one; a request and its answer.

    python benches/bus.py [--full]

Against asyncio.Queue, one for each who reads: `await put`, `await get`. Both run on uvloop, and both are handed the
same envelopes, which are there already, as when they come from a socket: messages of about 250 bytes, with subjects of
three tokens. What the bus does and a queue does not: it looks at each message (size, hops, deadline), gives it a place
and the time, keeps it for those who come back, finds who listens, and bounds what waits.

"In bursts" is 64 at a time, by `publish_many` and `batches()`. "One by one" is that all have read a message before the
next one is published, so that what is measured is mostly how a task is woken. The ratios are of CPU time.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence

import uvloop

from _measure import Contender, Gate, Outcome, compare, parser, report, verdict
from tekton.bus.bus import Subscription
from tekton.bus.envelope import Envelope
from tekton.bus.local_bus import LocalBus
from tekton.clock import SYSTEM_CLOCK
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

BURST = 64
MANY = 100
TEXT = "what was understood of it, and what was not " * 2

Queue = asyncio.Queue[Envelope]
Part = Coroutine[object, object, object]
Run = Callable[[], Part]


def envelopes(count: int, subject: str = "engram.memory.updated") -> list[Envelope]:
    context = MessageContext("engram")
    messages = [Message(MessageType.EVENT, {"key": number, "text": TEXT}, context) for number in range(count)]
    return [Envelope(subject, Message.from_json(message.to_json())) for message in messages]


def bursts(items: Sequence[Envelope], size: int = BURST) -> list[Sequence[Envelope]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


async def together(*parts: Part) -> None:
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part)


async def read(subscription: Subscription, count: int) -> None:
    async for batch in subscription.batches():
        for _ in batch:
            pass
        count -= len(batch)
        if count <= 0:
            return


async def get(queue: Queue, count: int) -> None:
    for _ in range(count):
        await queue.get()


async def get_drained(queue: Queue, count: int) -> None:
    while count > 0:
        await queue.get()
        count -= 1
        while not queue.empty():
            queue.get_nowait()
            count -= 1


async def publish(bus: LocalBus, batches: Sequence[Sequence[Envelope]]) -> None:
    for batch in batches:
        await bus.publish_many(batch)
        await asyncio.sleep(0)


async def publish_each(bus: LocalBus, batches: Sequence[Sequence[Envelope]]) -> None:
    for batch in batches:
        for envelope in batch:
            await bus.publish(envelope.subject, envelope.message)
        await asyncio.sleep(0)


async def put(queues: Sequence[Queue], batches: Sequence[Sequence[Envelope]]) -> None:
    for batch in batches:
        for queue in queues:
            for envelope in batch:
                await queue.put(envelope)
        await asyncio.sleep(0)


def bus_run(
    publishers: Sequence[Sequence[Sequence[Envelope]]],
    readers: int,
    how: Callable[[LocalBus, Sequence[Sequence[Envelope]]], Part] = publish,
) -> Run:
    """Each of *publishers* publishes its bursts; all *readers* read all of it."""
    count = sum(len(burst) for batches in publishers for burst in batches)

    async def run() -> None:
        bus = LocalBus(SYSTEM_CLOCK)
        subscriptions = [bus.subscribe("engram.memory.>") for _ in range(readers)]
        reading = [read(subscription, count) for subscription in subscriptions]
        await together(*reading, *(how(bus, batches) for batches in publishers))

    return run


def queue_run(
    publishers: Sequence[Sequence[Sequence[Envelope]]], readers: int, how: Callable[[Queue, int], Part] = get
) -> Run:
    count = sum(len(burst) for batches in publishers for burst in batches)

    async def run() -> None:
        queues = [Queue() for _ in range(readers)]
        await together(*(how(queue, count) for queue in queues), *(put(queues, batches) for batches in publishers))

    return run


def measure(title: str, runs: dict[str, Run], deliveries: int, gates: tuple[Gate, ...], seconds: float) -> None:
    loop = uvloop.new_event_loop()

    def contender(run: Run) -> Contender:
        return lambda: loop.run_until_complete(run())

    outcomes = compare({name: contender(run) for name, run in runs.items()}, "tekton bus", seconds=seconds)
    loop.close()
    each = {
        name: Outcome(outcome.seconds / deliveries, outcome.ratio, outcome.spread) for name, outcome in outcomes.items()
    }
    report(title, each, gates)


QUESTION = Message(MessageType.REQUEST, "?", MessageContext("engram"))
ANSWER = Message(MessageType.RESPONSE, "!", MessageContext("rhetor"))


async def ask_bus(count: int) -> None:
    bus = LocalBus(SYSTEM_CLOCK)
    subscription = bus.subscribe("rhetor.requests.>")

    async def serve() -> None:
        async for envelope in subscription:
            await bus.publish(envelope.reply or "", ANSWER)

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        for _ in range(count):
            await bus.request("rhetor.requests.complete", QUESTION, timeout=5.0)
        serving.cancel()


async def ask_queues(count: int) -> None:
    asked, answered = asyncio.Queue[Message](), asyncio.Queue[Message]()

    async def serve() -> None:
        while True:
            await asked.get()
            await answered.put(ANSWER)

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        for _ in range(count):
            await asked.put(QUESTION)
            async with asyncio.timeout(5.0):
                await answered.get()
        serving.cancel()


def main() -> int:
    options = parser(__doc__).parse_args()
    seconds = 6.0 if options.full else 2.0
    items = envelopes(64 * BURST)
    batches, few = [bursts(items)], [bursts(items[: 8 * BURST])]

    one_to_one = {
        "tekton bus": bus_run(batches, 1),
        "asyncio.Queue": queue_run(batches, 1),
        "asyncio.Queue, drained without await": queue_run(batches, 1, get_drained),
        "tekton bus, a publish each": bus_run(batches, 1, publish_each),
    }
    measure("one to one, in bursts", one_to_one, len(items), (Gate("asyncio.Queue", 3),), seconds)

    one_to_many = {"tekton bus": bus_run(few, MANY), "asyncio.Queue": queue_run(few, MANY)}
    deliveries = 8 * BURST * MANY
    measure("one to 100, in bursts", one_to_many, deliveries, (Gate("asyncio.Queue", 12),), seconds)

    each = [bursts(items[: 4 * BURST], 1)]
    one_by_one = {"tekton bus": bus_run(each, MANY, publish_each), "asyncio.Queue": queue_run(each, MANY)}
    deliveries = 4 * BURST * MANY
    measure("one to 100, one by one", one_by_one, deliveries, (Gate("asyncio.Queue", 2.5),), seconds)

    everybody = [bursts(envelopes(2 * BURST, f"engram.memory.{number}")) for number in range(MANY)]
    many_to_one = {"tekton bus": bus_run(everybody, 1), "asyncio.Queue": queue_run(everybody, 1)}
    deliveries = 2 * BURST * MANY
    measure("100 to one, in bursts", many_to_one, deliveries, (Gate("asyncio.Queue", 2.2),), seconds)

    requests: dict[str, Run] = {"tekton bus": lambda: ask_bus(500), "two asyncio.Queue": lambda: ask_queues(500)}
    measure("a request and its answer", requests, 500, (), seconds / 2)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
