"""Clients that write, read and watch while a system is being killed, and note everything: histories for a verdict.

They share few components, so that they get in each other's way. `verdict` says what is wrong with what they were told.
"""

import http.client
import json
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from client_threads import ClientThreads

from tekton.testing import linearizability, watches
from tekton.testing.component_model import ComponentModel
from tekton.testing.history import History, Operation
from tekton.testing.watches import Acknowledged, Seen, Watch

KEYS = 8
WRITERS, READERS, WATCHERS = 4, 2, 2

_NEVER_SENT = (ConnectionRefusedError, FileNotFoundError)
_CUT = (OSError, http.client.HTTPException, json.JSONDecodeError)
_NOT_DONE = frozenset({"storage_full", "storage_busy", "unavailable", "stopping"})
_STATES = ("initializing", "starting", "ready", "degraded", "stopping", "stopped", "failed")


class ChaosClients(ClientThreads):
    """Runs as long as its `with` block. *seed* decides what is asked for, not when."""

    def __init__(self, tekton: Any, seed: int = 0) -> None:
        self.history = History()
        self.acknowledged: list[Acknowledged] = []
        self.watches = [Watch(f"watcher {number}") for number in range(WATCHERS)]
        self._tekton = tekton
        self._answered = 0
        # Whom the writers believe to hold each id; they are often mistaken, and refused.
        self._believed = {f"k{number}": str(uuid.UUID(int=number + 1)) for number in range(KEYS)}
        bodies: list[tuple[Callable[..., None], Any]] = [(self._write, Random(seed + n)) for n in range(WRITERS)]
        bodies += [(self._read, Random(seed + WRITERS + n)) for n in range(READERS)]
        bodies += [(self._watch, watch) for watch in self.watches]
        super().__init__(
            partial(body, f"{body.__name__.strip('_')} {number}", argument)
            for number, (body, argument) in enumerate(bodies)
        )

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        assert not any(thread.is_alive() for thread in self._threads)

    def verdict(self) -> list[str]:
        """What is wrong; reads everything once more first. Call after the `with` block."""
        for key in self._believed:
            self._ask("last", key, "read")
        violations = linearizability.check(self.history, ComponentModel(), strict=True)
        return [*map(str, violations), *watches.check(self.watches, self.acknowledged)]

    @property
    def answered(self) -> int:
        """How many operations have been answered."""
        return self._answered

    def summary(self) -> str:
        """How much there is to judge."""
        outcomes = [one.outcome for one in self.history if one.result != ("never sent",)]
        counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
        seen = sum(len(watch) for watch in self.watches)
        stretches = sum(len(watch.stretches) for watch in self.watches)
        return f"{len(outcomes)} operations ({counts}); {seen} changes watched in {stretches} stretches"

    # Those who write and read.

    def _write(self, name: str, rng: Random) -> None:
        versions = iter(range(10**9))
        while not self._stop.is_set():
            key = rng.choice(list(self._believed))
            instance = self._believed[key]
            match rng.randrange(6):
                case 0 | 1:
                    if rng.random() < 0.6:
                        instance = str(uuid.UUID(int=rng.getrandbits(128), version=4))
                    self._ask(name, key, "register", instance, f"{name}-{next(versions)}")
                case 2:
                    self._ask(name, key, "make_ready", instance)
                case 3 | 4:
                    self._ask(name, key, "set_state", instance, rng.choice(_STATES))
                case 5:
                    self._ask(name, key, "deregister", instance)

    def _read(self, name: str, rng: Random) -> None:
        while not self._stop.is_set():
            self._ask(name, rng.choice(list(self._believed)), "read")

    def _ask(self, name: str, key: str, action: str, *arguments: str) -> None:
        request = _REQUESTS[action](key, *arguments)
        operation = self.history.invoke(name, key, action, *arguments)
        try:
            status, answer = self._tekton.request(*request)
        except _NEVER_SENT:
            self.history.failed(operation, "never sent")
            self._stop.wait(0.1)
            return
        except _CUT:
            return
        self._note(operation, status, answer)

    def _note(self, operation: Operation, status: int, answer: Any) -> None:
        self._answered += 1
        if status in (200, 201):
            record = answer["component"] if operation.action == "register" else answer
            names = ("instance_uuid", "state", "generation", "version")
            self.history.returned(operation, *(record[name] for name in names))
            self._believed[operation.key] = record["instance_uuid"]
            if operation.action != "read":
                self.acknowledged.append(_acknowledged(operation, record))
        elif operation.action == "read" and status == 404:
            self.history.returned(operation)
        elif answer["code"] in _NOT_DONE:
            self.history.failed(operation, answer["code"])
        elif status in (404, 409):
            self.history.refused(operation, answer["code"])
        else:
            assert status == 503, answer

    # Those who watch.

    def _watch(self, _: str, watch: Watch) -> None:
        while not self._stop.is_set():
            try:
                self._follow(watch)
            except _CUT:
                self._stop.wait(0.02)

    def _follow(self, watch: Watch) -> None:
        position = watch.position
        headers = {} if position is None else {"last-event-id": str(position)}
        with closing(_Connection(self._tekton.data_dir / "run" / "control.sock")) as connection:
            connection.request("GET", "/events/components", headers=headers)
            resumed = position is not None
            for event, revision, data in _events(connection.getresponse()):
                if event == "snapshot":
                    watch.snapshot(
                        revision, {(one["component_id"], one["instance_uuid"]): one["state"] for one in data}
                    )
                elif event == "change":
                    if resumed:
                        watch.resume(position or 0)
                    watch.change(Seen.of_json(data))
                elif event == "bye" or self._stop.is_set():
                    return
                resumed = False


def _acknowledged(operation: Operation, record: Any) -> Acknowledged:
    state = None if operation.action == "deregister" else record["state"]
    return Acknowledged(record["revision"], (operation.key, record["instance_uuid"]), state)


class _Connection(http.client.HTTPConnection):
    """Over the Unix socket. Silence ends it soon: for a watcher, that is one more cut."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(1.0)
        self.sock.connect(str(self._path))


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, int, Any]]:
    """Server-sent events as (name, id, data); a comment is an event without a name."""
    event, revision, data = "", 0, None
    for raw in lines:
        line = raw.decode().rstrip("\n")
        field, _, value = line.partition(": ")
        if field == "event":
            event = value
        elif field == "id":
            revision = int(value)
        elif field == "data":
            data = json.loads(value)
        elif not line or line.startswith(":"):
            yield event, revision, data
            event, data = "", None


def _one(key: str) -> str:
    return f"/api/components/{key}"


_REQUESTS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "read": lambda key: ("GET", _one(key)),
    "register": lambda key, instance, version: (
        "POST",
        "/api/components",
        {"component_id": key, "instance_uuid": instance, "version": version},
    ),
    "make_ready": lambda key, instance: ("POST", f"{_one(key)}/ready", {"instance_uuid": instance}),
    "set_state": lambda key, instance, state: (
        "PUT",
        f"{_one(key)}/state",
        {"instance_uuid": instance, "state": state},
    ),
    "deregister": lambda key, instance: ("DELETE", f"{_one(key)}?instance_uuid={instance}"),
}
