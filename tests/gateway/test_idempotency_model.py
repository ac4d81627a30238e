"""Requests with keys against a naive model: clients that come again, cut connections, full disks, killed processes.

The model is a count of effects for each key, and the first answer to it: no effect may be counted twice, no answer may
change. `TEKTON_RETRIED_WRITES` sets how many writes are played (1,200; 100,000 in a campaign), each run of 60 drawn
from a seed of its own, from `TEKTON_RETRIED_SEED` on.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from tekton.auth.principal import Principal, owner
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.steps import Step
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration
from tekton.gateway.idempotency import REPLAYED, handle_once
from tekton.gateway.problems import status_of, to_problem
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.testing import current_clock, virtual_time
from tekton.testing.faults import FaultyStore, VirtualWorker
from tekton.utils.tekton_errors import ComponentNotFoundError

OF_A_RUN = 60
RUNS = int(os.environ.get("TEKTON_RETRIED_WRITES", "1200")) // OF_A_RUN
SEED = int(os.environ.get("TEKTON_RETRIED_SEED", "0"))

ATTEMPTS = 40
KINDS = ("register", "document", "process", "two", "nothing", "refused")
COMES_AGAIN = frozenset({"request_running", "storage_full", "storage_busy", "storage_unknown", "storage", "internal"})


class World:
    """One control plane after another on one disk, and what outlives them: the disk, the clients, the effects."""

    def __init__(self, seed: int, make: Callable[[str], Request]) -> None:
        self.rng = Random(seed)
        self.make = make
        self.disk = MemoryStore()
        self.executions: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.unknown: set[str] = set()
        self.was_full = False
        self.kills = 0
        self.replays = 0
        self.handlers: set[asyncio.Task[Response | None]] = set()
        self.dead: list[ComponentRegistry] = []
        self.begin()

    # The control plane

    def begin(self) -> None:
        self.store = FaultyStore(self.disk)
        self.worker = VirtualWorker(delay=lambda: self.rng.choice((0.0002, 0.001, 0.005)))
        self.registry = ComponentRegistry(store=self.store, clock=current_clock(), executor=self.worker)

    def kill(self) -> None:
        """End the process in the middle of whatever it does, and begin another one."""
        self.kills += 1
        for handler in self.handlers:
            handler.cancel()
        self.handlers.clear()
        # Not to be collected yet: that would close the disk.
        self.dead.append(self.registry)
        self.worker.cut(applied=self.rng.random() < 0.5)
        self.disk.close()
        self.begin()

    def serve(self, key: str, kind: str) -> "asyncio.Task[Response | None]":
        registry = self.registry
        request = self.make(key)
        request.params = {"key": key}
        handler = getattr(Handlers(self, registry), kind)
        answer_of = Handlers.registered if kind == "register" else None
        route = Route("POST", f"/api/{kind}", handler, summary="", answer_of=answer_of)

        async def run() -> Response | None:
            try:
                return await handle_once(registry.idempotency_keys, request, route, kind.encode())
            except Exception as error:
                return Response(status_of(error), to_problem(error, request.path))

        task = asyncio.get_running_loop().create_task(run())
        self.handlers.add(task)
        task.add_done_callback(self.handlers.discard)
        return task

    # The clients

    async def write(self, key: str, kind: str) -> None:
        """Send the request until it has been answered for good, and sometimes once more after that."""
        for _ in range(ATTEMPTS):
            await asyncio.sleep(self.rng.choice((0.0, 0.001, 0.01)))
            if await self.attempt(key, kind) and self.rng.random() < 0.7:
                return

    async def attempt(self, key: str, kind: str, *, patient: bool = False) -> bool:
        """Send it, and perhaps hang up before the answer. True when there was an answer that lasts."""
        handler = self.serve(key, kind)
        patience = None if patient or self.rng.random() < 0.5 else self.rng.choice((0.0, 0.001, 0.004, 0.02))
        await asyncio.wait([handler], timeout=patience)
        if not handler.done() or handler.cancelled():
            return False
        response = handler.result()
        assert response is not None
        return self.note(key, response)

    def note(self, key: str, response: Response) -> bool:
        code = json.loads(response.body).get("code")
        if code in COMES_AGAIN:
            return False
        self.replays += (REPLAYED, "true") in response.headers
        if code == "outcome_unknown":
            assert self.was_full or key not in self.answers, f"{key} was answered, and is unknown now"
            self.unknown.add(key)
            return True
        assert key not in self.unknown, f"{key} was unknown, and is answered now"
        assert self.answers.setdefault(key, (response.status, response.body)) == (response.status, response.body)
        return True

    async def trouble(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.005, 0.05))
            if self.rng.random() < 0.4:
                self.store.full = self.was_full = True
                await asyncio.sleep(self.rng.uniform(0.001, 0.02))
                self.store.full = False
            else:
                self.kill()

    # What is there in the end

    def effects(self, key: str, kind: str) -> list[int]:
        """How often each effect of a request is there."""
        notes = self.registry.documents.all("note")
        match kind:
            case "register":
                return [sum(one.component_id.startswith(f"{key}-") for one in self.registry.components())]
            case "document":
                return [sum(name.startswith(f"{key}-") for name in notes)]
            case "two":
                return [sum(name.startswith(f"{key}-") and name.endswith(end) for name in notes) for end in "ab"]
            case "process":
                return [self.signals[key]]
        return []


class Handlers:
    """What requests do. A number that grows with each execution shows an effect that is there twice."""

    def __init__(self, world: World, registry: ComponentRegistry) -> None:
        self.world = world
        self.registry = registry

    def execution(self, request: Request) -> str:
        key = request.params["key"]
        self.world.executions[key] += 1
        return f"{key}-{self.world.executions[key]}"

    async def register(self, request: Request) -> ComponentRecord:
        return (await self.registry.register(ComponentRegistration(component_id=self.execution(request)))).record

    @staticmethod
    def registered(steps: Sequence[Step]) -> ComponentRecord:
        return steps[0].record

    async def document(self, request: Request) -> dict[str, str]:
        name = self.execution(request)
        await self.registry.documents.put("note", name, b"")
        return {"name": name}

    async def two(self, request: Request) -> dict[str, str]:
        name = self.execution(request)
        await self.registry.documents.put("note", f"{name}-a", b"")
        await self.registry.documents.put("note", f"{name}-b", b"")
        return {"name": name}

    async def process(self, request: Request) -> dict[str, str]:
        name = self.execution(request)
        with await self.registry.audit.intend("kill", name):
            await asyncio.sleep(self.world.rng.choice((0.0, 0.003)))
            self.world.signals[request.params["key"]] += 1
            await asyncio.sleep(self.world.rng.choice((0.0, 0.003)))
        return {"name": name}

    async def nothing(self, request: Request) -> dict[str, str]:
        await asyncio.sleep(0.001)
        return {"key": request.params["key"]}

    async def refused(self, request: Request) -> None:
        raise ComponentNotFoundError(request.params["key"])


@pytest.fixture
def make(scope: Callable[..., Any], headers: Callable[..., Any]) -> Callable[[str], Request]:
    who: Principal = owner("token")

    def make(key: str) -> Request:
        request = Request(scope(method="POST"), None, headers(("idempotency-key", key)), "POST", "/api/x")
        request.principal = who
        return request

    return make


@virtual_time
async def play(seed: int, make: Callable[[str], Request]) -> World:
    world = World(seed, make)
    kinds = {f"k{number}": world.rng.choice(KINDS) for number in range(OF_A_RUN)}
    trouble = asyncio.get_running_loop().create_task(world.trouble())
    try:
        writes: list[Awaitable[None]] = [world.write(key, kind) for key, kind in kinds.items()]
        await asyncio.gather(*writes)
    finally:
        trouble.cancel()
        with suppress(asyncio.CancelledError):
            await trouble
    world.kill()
    for key, kind in kinds.items():
        assert await world.attempt(key, kind, patient=True), f"{key} ({kind}) has no lasting answer"
        effects = world.effects(key, kind)
        assert max(effects, default=0) <= 1, f"{key} ({kind}) was done {effects} times"
        answered = key in world.answers and world.answers[key][0] < 400
        assert not answered or min(effects, default=1) == 1, f"{key} ({kind}) was answered and not done"
        if kind in ("register", "nothing", "refused"):
            assert key not in world.unknown or world.was_full
    await world.registry.close()
    return world


def test_no_effect_is_there_twice_and_no_answer_changes(make: Callable[[str], Request]) -> None:
    played: Counter[str] = Counter()
    for seed in range(SEED, SEED + RUNS):
        world = play(seed, make)
        played += Counter(
            kills=world.kills, replays=world.replays, unknown=len(world.unknown), answered=len(world.answers)
        )
    assert min(played["kills"], played["replays"], played["unknown"], played["answered"]) > 0
