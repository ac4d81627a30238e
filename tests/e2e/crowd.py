"""A process of many components: `crowd.py PORT COUNT INTERVAL [CONNECTIONS]`. They register, are ready, and beat.

Each connection (a new one per request, if it has but one component) speaks for its share of them, in batches, every
INTERVAL seconds, and waits for the answer as long as it takes. When the connection breaks it comes back. Components
that are told that they are unknown register anew, which is counted, unless this process let them wait, having no
processor for several intervals. Commands come as lines, each is answered by one: `silence N` (N more of them beat no
more: their ids), `report` (counts), `rush` (all connections are made anew, everybody registers again and beats, at
once: how long it took, in seconds).
"""

import asyncio
import json
import math
import random
import statistics
import sys
import time
import uuid
from typing import Any

STARVED = 5
LASTING = 5.0


class Hunger:
    """Whether this process got no processor lately, so that its components were late by its own fault."""

    def __init__(self) -> None:
        self._last = -math.inf

    async def watch(self, interval: float) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(interval)
            if time.monotonic() - began > STARVED * interval:
                self._last = time.monotonic()

    @property
    def recent(self) -> bool:
        return time.monotonic() - self._last < LASTING


hunger = Hunger()


class RefusedError(Exception):
    pass


class Link:
    """A connection that comes back; with *lasting* False a new one for each request, as components have it."""

    def __init__(self, port: int, *, lasting: bool) -> None:
        self._port = port
        self._lasting = lasting
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.broken = 0

    def drop(self) -> None:
        """Use another connection from now on."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def post(self, path: str, body: Any) -> Any:
        while True:
            try:
                return await self._post(path, json.dumps(body).encode())
            except (OSError, EOFError):
                self.broken += 1
                self._streams = None
                await asyncio.sleep(random.uniform(0.05, 0.2))

    async def _post(self, path: str, body: bytes) -> Any:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-type: application/json\r\n"
        fate = "keep-alive" if self._lasting else "close"
        writer.write(f"{head}connection: {fate}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(field.split(":")[1]) for field in fields if field.startswith("content-length"))
        answer = json.loads(await reader.readexactly(length) or b"null")
        if not self._lasting:
            self.drop()
        if status.split()[1] not in ("200", "201"):
            raise RefusedError(f"{path}: {answer}")
        return answer


class Share:
    """The components of one connection."""

    def __init__(self, port: int, names: list[str], interval: float) -> None:
        self.link = Link(port, lasting=len(names) > 1)
        self.instances = {name: str(uuid.uuid4()) for name in names}
        self._interval = interval
        self.silent: set[str] = set()
        self.unknown = self.beats = 0

    async def live(self, registered: asyncio.Event) -> None:
        await self.register()
        registered.set()
        await self.beat()

    async def register(self) -> None:
        spoken = time.monotonic()
        for number, name in enumerate(self.instances, 1):
            await self._register(name)
            # Those who are ready have a lease already.
            if time.monotonic() - spoken > self._interval:
                await self._speak(list(self.instances)[:number])
                spoken = time.monotonic()

    async def _register(self, name: str) -> None:
        await self.link.post("/api/components", {"component_id": name, **self._who(name)})
        await self.link.post(f"/api/components/{name}/ready", self._who(name))

    def _who(self, name: str) -> dict[str, str]:
        return {"instance_uuid": self.instances[name]}

    async def rush(self) -> float:
        began = time.monotonic()
        self.link.drop()
        known = False
        while not known:
            await self.register()
            beats = [{"component_id": name, **self._who(name)} for name in self.instances]
            answer = await self.link.post("/api/heartbeats", {"heartbeats": beats})
            known = all(reply["known"] for reply in answer["replies"])
        return time.monotonic() - began

    async def beat(self) -> None:
        await asyncio.sleep(random.uniform(0, self._interval))
        while True:
            await self._speak([name for name in self.instances if name not in self.silent])
            await asyncio.sleep(self._interval)

    async def _speak(self, names: list[str]) -> None:
        beats = [{"component_id": name, **self._who(name)} for name in names]
        answer = await self.link.post("/api/heartbeats", {"heartbeats": beats})
        for name, reply in zip(names, answer["replies"]):
            self.beats += 1
            if not reply["known"] and name not in self.silent:
                self.unknown += not hunger.recent
                self.instances[name] = str(uuid.uuid4())
                await self._register(name)


async def main(port: int, count: int, interval: float, connections: int) -> None:
    names = [f"m{number}" for number in range(count)]
    shares = [Share(port, names[start::connections], interval) for start in range(connections)]
    async with asyncio.TaskGroup() as group:
        registered = [asyncio.Event() for _ in shares]
        hunger_watch = group.create_task(hunger.watch(interval))
        beating = [group.create_task(share.live(event)) for share, event in zip(shares, registered)]
        for event in registered:
            await event.wait()
        print("up", flush=True)
        while words := (await asyncio.to_thread(sys.stdin.readline)).split():
            if words[0] == "silence":
                victims = names[: int(words[1])]
                del names[: len(victims)]
                for share in shares:
                    share.silent.update(victims)
                # A batch on its way may still speak for them.
                await asyncio.sleep(interval)
                print(json.dumps(victims), flush=True)
            elif words[0] == "rush":
                for task in beating:
                    task.cancel()
                times = await asyncio.gather(*(share.rush() for share in shares))
                beating = [group.create_task(share.beat()) for share in shares]
                print(json.dumps({"median": statistics.median(times), "slowest": max(times)}), flush=True)
            else:
                counts = {name: sum(getattr(share, name) for share in shares) for name in ("beats", "unknown")}
                print(json.dumps({**counts, "broken": sum(share.link.broken for share in shares)}), flush=True)
        for task in (*beating, hunger_watch):
            task.cancel()


if __name__ == "__main__":
    port, count, interval, *connections = sys.argv[1:]
    asyncio.run(main(int(port), int(count), float(interval), int(connections[0]) if connections else 20))
