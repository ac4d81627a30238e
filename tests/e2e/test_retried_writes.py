"""Writes that are sent again and again, over connections that are cut, while the control plane is killed.

Each write has a key, and an effect that would show if it were there twice: an instance of a component that gets a new
id each time (and so a higher generation), an API key, an entry of the audit log about a signal. `TEKTON_RETRIED_WRITES`
sets how many there are (120; 100,000 in a campaign), with a new system for every 20,000.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psutil
import pytest

from tekton.background import BackgroundTask
from tekton.utils.control_plane import ControlPlane
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import (
    AnswerNotKeptError,
    OutcomeUnknownError,
    RequestRunningError,
    TektonError,
    TransportError,
)
from tekton.utils.tekton_http import HttpClient

WRITES = int(os.environ.get("TEKTON_RETRIED_WRITES", "120"))
SEED = int(os.environ.get("TEKTON_RETRIED_SEED", "0"))
OF_A_SYSTEM = 20_000
WORKERS = 8
KILL_EVERY = 50
"""Answered writes."""

SLEEPER = {"sleeper": {"command": ["sleep", "100000"]}}


class Write(NamedTuple):
    """One write: its key, and what it asks."""

    key: str
    kind: str
    path: str
    body: dict[str, Any]

    @classmethod
    def number(cls, number: int, rng: Random) -> "Write":
        key = f"write-{number}"
        kind = rng.choices(("register", "key", "kill"), (8, 1, 1))[0]
        match kind:
            case "register":
                return cls(key, kind, "/api/components", {"component_id": key, "max_instances": 10})
            case "key":
                return cls(key, kind, "/api/keys", {"subject": key, "roles": ["monitor"]})
        return cls(key, kind, "/api/components/sleeper/kill", {"signal": "CONT"})


class Campaign:
    """Some clients of one system, and somebody who kills it."""

    def __init__(self, tekton: Any, rng: Random) -> None:
        self.tekton = tekton
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.outcomes: dict[str, str] = {}
        self._progress = asyncio.Condition()
        retries = Retries(10_000, backoff=(0.01, 0.1), savings=1e9, rng=rng)
        self._client = ControlPlane(socket=tekton.data_dir / "run" / "control.sock").client(150.0, retries)

    async def run(self, writes: list[Write]) -> None:
        left = iter(writes)
        killer = BackgroundTask("killer")
        killer.start(self._kill(len(writes)))
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work(left))
        await killer.stop()
        await self._client.close()

    async def _work(self, left: Iterator[Write]) -> None:
        # A client of its own for each: what is cut is the connection of one request.
        async with HttpClient(socket=self.tekton.data_dir / "run" / "control.sock") as client:
            for write in left:
                outcome, answer = await (self._patient(write) if self.rng.random() < 0.3 else self._cut(client, write))
                self.outcomes[write.key] = outcome
                self.counts[outcome] += 1
                async with self._progress:
                    self._progress.notify_all()
                if outcome == "answered" and write.kind != "key":
                    assert (await self._patient(write))[1] == answer, write

    async def _patient(self, write: Write) -> tuple[str, Any]:
        """As an application does it: the client sends it again whenever there was no answer."""
        try:
            return "answered", await self._client.request(
                "POST", write.path, write.body, {"Idempotency-Key": write.key}
            )
        except (OutcomeUnknownError, AnswerNotKeptError) as error:
            return error.code, None

    async def _cut(self, client: HttpClient, write: Write) -> tuple[str, Any]:
        """Hang up after a moment, again and again, each time a little later, until an answer was faster."""
        for attempt in count():
            patience = self.rng.uniform(0, 0.004 * 2 ** min(attempt, 12))
            try:
                return "answered", await client.request(
                    "POST", write.path, write.body, {"Idempotency-Key": write.key}, patience
                )
            except (OutcomeUnknownError, AnswerNotKeptError) as error:
                return error.code, None
            except RequestRunningError:
                self.counts["running"] += 1
            except TransportError:
                self.counts["cut"] += 1
            await asyncio.sleep(0.02)
        raise AssertionError("it was tried without end")

    async def _kill(self, writes: int) -> None:
        goals = range(KILL_EVERY // 2, writes, max(KILL_EVERY, writes // 100))
        for goal in goals:
            async with self._progress:
                while len(self.outcomes) < goal:
                    await self._progress.wait()
            await asyncio.sleep(self.rng.uniform(0, 0.02))
            with suppress(OSError, ValueError):
                os.kill(self.tekton.control_pid, signal.SIGKILL)
                self.counts["kills"] += 1


def entries(tekton: Any, action: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = tekton.get(f"/api/audit?limit=1000&action={action}{cursor}")
        yield from page["items"]
        if page["cursor"] is None:
            return
        cursor = f"&cursor={page['cursor']}"


def effects(tekton: Any) -> Counter[str]:
    """How often each write has had its effect."""
    found: Counter[str] = Counter()
    for component_id, record in tekton.everything().items():
        found[component_id] = record["generation"]
    found += Counter(key["subject"] for key in tekton.get("/api/keys")["items"])
    found += Counter(entry["request"] for entry in entries(tekton, "component.kill") if entry["outcome"] == "intent")
    return found


def play(tekton: Any, eventually: Callable[..., Any], first: int, last: int, seed: int) -> Counter[str]:
    rng = Random(seed)
    tekton.configure(SLEEPER)
    tekton.up()
    tekton.until("sleeper")
    writes = [Write.number(number, rng) for number in range(first, last)]
    campaign = Campaign(tekton, rng)
    asyncio.run(campaign.run(writes))
    eventually(tekton.answers, "the control plane is there in the end")

    found = effects(tekton)
    doubled = [write for write in writes if found[write.key] > 1]
    assert not doubled, doubled
    for write in writes:
        outcome = campaign.outcomes[write.key]
        assert outcome == "outcome_unknown" or found[write.key] == 1, (write, outcome)
        assert outcome == "answered" or write.kind != "register", (write, outcome)
    return campaign.counts


@pytest.mark.timeout(max(180, WRITES // 10))
def test_no_write_has_its_effect_twice(tmp_path: Path, start_tekton: Any, eventually: Any) -> None:
    counts: Counter[str] = Counter()
    for first in range(0, WRITES, OF_A_SYSTEM):
        directory = tmp_path / str(first)
        directory.mkdir()
        tekton = start_tekton(directory)
        try:
            counts += play(tekton, eventually, first, min(first + OF_A_SYSTEM, WRITES), SEED + first)
        finally:
            tekton.kill()
    print(dict(counts))
    assert counts["kills"] >= 1
    assert min(counts["answered"], counts["cut"]) > 0


def test_a_request_that_is_cut_off_is_unknown_afterwards(tekton: Any, eventually: Any) -> None:
    """A restart of a component that takes five minutes to stop, and the control plane is killed meanwhile."""
    deaf = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
    tekton.configure({"slow": {"command": deaf, "ready": {"log": "up"}, "stop_timeout": 300}})
    tekton.up()
    tekton.until("slow")
    head = "POST /api/components/slow/restart?wait=1 HTTP/1.1\r\nhost: localhost\r\nidempotency-key: cut\r\n"
    key = {"Idempotency-Key": "cut"}

    async def restart_and_kill() -> None:
        reader, writer = await asyncio.open_unix_connection(tekton.data_dir / "run" / "control.sock")
        writer.write(f"{head}content-length: 0\r\n\r\n".encode())
        await writer.drain()
        await asyncio.to_thread(eventually, is_entered, "the intent is in the audit log")
        psutil.Process(tekton.control_pid).kill()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    def intents() -> list[dict[str, Any]]:
        return list(entries(tekton, "component.restart"))

    def is_entered() -> bool:
        return any(entry["request"] == "cut" for entry in intents())

    asyncio.run(restart_and_kill())
    eventually(tekton.answers, "there is a new control plane")

    async def again() -> TektonError:
        async with HttpClient(socket=tekton.data_dir / "run" / "control.sock") as client:
            with pytest.raises(OutcomeUnknownError) as unknown:
                await client.request("POST", "/api/components/slow/restart", headers=key, query={"wait": "1"})
        return unknown.value

    assert "it was not done again" in str(asyncio.run(again()))
    assert [entry["outcome"] for entry in intents() if entry["request"] == "cut"] == ["intent"]
