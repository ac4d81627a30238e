"""Many clients of one registry on a real disk at once; the history of what they were told is judged.

`TEKTON_HISTORY_OPERATIONS` sets how many operations (default 5,000; a million at night takes some minutes).
"""

import asyncio
import os
import uuid
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import STATES, ComponentRecord, ComponentRegistration
from tekton.testing import linearizability, watches
from tekton.testing.component_model import ComponentModel, as_values
from tekton.testing.history import History
from tekton.testing.watches import Acknowledged, Seen, Watch
from tekton.utils.tekton_errors import RegistryError

OPERATIONS = int(os.environ.get("TEKTON_HISTORY_OPERATIONS", "5000"))
CLIENTS, WATCHERS = 64, 4
KEYS = max(8, min(200, OPERATIONS // 500))
ACTIONS = ("register", "register", "make_ready", "set_state", "deregister", "read", "read")


class Run:
    """Clients that share few components, and watchers that come and go."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.history = History()
        self.acknowledged: list[Acknowledged] = []
        self.watches = [Watch(f"watcher {number}") for number in range(WATCHERS)]
        # Whom the clients believe to hold each id; they are often mistaken.
        self._believed = {f"k{number}": str(uuid.UUID(int=number + 1)) for number in range(KEYS)}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as watching:
            tasks = [watching.create_task(self._watch(watch, Random(n))) for n, watch in enumerate(self.watches)]
            async with asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    clients.create_task(self._client(f"client {number}", Random(number)))
            for task in tasks:
                task.cancel()

    async def _client(self, name: str, rng: Random) -> None:
        count = 0
        while len(self.history) < OPERATIONS:
            key, action = rng.choice(list(self._believed)), rng.choice(ACTIONS)
            instance = self._believed[key]
            if action == "register" and rng.random() < 0.5:
                instance = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            count += 1
            await self._ask(name, action, key, instance, f"{name}, {count}", rng)
            # Refusals and reads are quicker than the disk; without a rest there would be little else.
            await asyncio.sleep(rng.uniform(0, 0.01))

    async def _ask(self, name: str, action: str, key: str, instance: str, version: str, rng: Random) -> None:
        registry, state = self.registry, rng.choice(STATES[2:])
        if action == "read":
            operation = self.history.invoke(name, key, "read")
            self.history.returned(operation, *as_values(registry.find(key)))
        elif action == "register":
            registration = ComponentRegistration(component_id=key, instance_uuid=instance, version=version)
            await self._write(name, key, registry.register(registration), action, instance, version)
        elif action == "make_ready":
            await self._write(name, key, registry.make_ready(key, instance), action, instance)
        elif action == "set_state":
            await self._write(name, key, registry.set_state(key, instance, state), action, instance, state.value)
        else:
            await self._write(name, key, registry.deregister(key, instance), action, instance)

    async def _write(self, name: str, key: str, call: Coroutine[Any, Any, Any], action: str, *arguments: str) -> None:
        operation = self.history.invoke(name, key, action, *arguments)
        try:
            answer = await call
        except RegistryError as refusal:
            self.history.refused(operation, refusal.code)
            return
        record: ComponentRecord = answer.record if action == "register" else answer
        self.history.returned(operation, *as_values(record))
        self._believed[key] = record.instance_uuid
        after = None if action == "deregister" else record.state.value
        self.acknowledged.append(Acknowledged(record.revision, (key, record.instance_uuid), after))

    async def _watch(self, watch: Watch, rng: Random) -> None:
        feed = self.registry.feed
        records = self.registry.all_instances()
        watch.snapshot(feed.revision, {(one.component_id, one.instance_uuid): one.state.value for one in records})
        while True:
            watch.resume(watch.position or 0)
            left = rng.randrange(1, 50)
            async with feed.subscribe(watch.position or 0) as subscription:
                async for batch in subscription:
                    for change in batch:
                        watch.change(Seen.of(change))
                    left -= 1
                    if not left:
                        break


@pytest.mark.timeout(60 + OPERATIONS / 500)
async def test_what_many_clients_are_told_has_an_order(tmp_path: Path) -> None:
    async with ComponentRegistry(tmp_path) as registry:
        run = Run(registry)
        await run.run()

    print(f"{len(run.history)} operations, {len(run.acknowledged)} writes, {sum(map(len, run.watches))} changes seen")
    assert linearizability.check(run.history, ComponentModel(), strict=True) == []
    assert watches.check(run.watches, run.acknowledged) == []
