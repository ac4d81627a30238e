"""hermes: a service directory, and topics to publish to and read from. Plain Python.

PUT    /api/registry/services/{name}            {"url": ...}   enter a service
GET    /api/registry/services                                  all of them
DELETE /api/registry/services/{name}                           remove it
POST   /api/topics/{topic}/messages             any JSON       publish; answers the sequence number
GET    /api/topics/{topic}/messages?after=&wait=               what came after a sequence number; waits for news

The directory is kept in the SQLite file that HERMES_DB_PATH names, topics in memory. Without it all is in memory.
"""

import os
import sqlite3
from collections import defaultdict, deque
from threading import Condition, Lock
from typing import Any

from peers import RefusedError
from serving import Request, Service

KEPT = 1000  # messages per topic
LONGEST_WAIT = 30.0  # seconds

service = Service("hermes", port=8001, announced=False, capabilities=["service_directory", "messaging"])


class Topic:
    """A short log: the last `KEPT` messages, numbered from 1. Readers wait for what they have not seen."""

    def __init__(self) -> None:
        self._messages: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._sequence = 0
        self._news = Condition()

    def publish(self, content: Any) -> int:
        with self._news:
            self._sequence += 1
            self._messages.append({"sequence": self._sequence, "content": content})
            self._news.notify_all()
            return self._sequence

    def after(self, sequence: int, wait: float) -> list[dict[str, Any]]:
        with self._news:
            self._news.wait_for(lambda: self._sequence > sequence, timeout=wait)
            return [message for message in self._messages if message["sequence"] > sequence]


class Directory:
    """Names of services and their addresses, in the file *path*."""

    def __init__(self, path: str) -> None:
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._ask("CREATE TABLE IF NOT EXISTS services (name TEXT PRIMARY KEY, url TEXT NOT NULL)")

    def all(self) -> dict[str, str]:
        return dict(self._ask("SELECT name, url FROM services ORDER BY name"))

    def enter(self, name: str, url: str) -> None:
        self._ask("INSERT OR REPLACE INTO services VALUES (?, ?)", name, url)

    def remove(self, name: str) -> bool:
        """False when there is no such service."""
        return bool(self._ask("DELETE FROM services WHERE name = ? RETURNING name", name))

    def _ask(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


directory = Directory(os.environ.get("HERMES_DB_PATH", ":memory:"))
topics: defaultdict[str, Topic] = defaultdict(Topic)


@service.get("/api/registry/services")
def list_services(_: Request) -> Any:
    return {"services": directory.all()}


@service.route("PUT", "/api/registry/services/{name}")
def enter_service(request: Request) -> Any:
    if not isinstance(request.body, dict) or not isinstance(request.body.get("url"), str):
        raise RefusedError(422, 'expected {"url": "http://..."}')
    name, url = request.params["name"], request.body["url"]
    directory.enter(name, url)
    topics["services"].publish({"entered": name})
    service.log(f"{name} is at {url}")
    return {"name": name, "url": url}


@service.route("DELETE", "/api/registry/services/{name}")
def remove_service(request: Request) -> Any:
    if not directory.remove(request.params["name"]):
        raise RefusedError(404, f"no service {request.params['name']!r}")
    topics["services"].publish({"removed": request.params["name"]})
    return {"removed": request.params["name"]}


@service.post("/api/topics/{topic}/messages")
def publish(request: Request) -> Any:
    return {"sequence": topics[request.params["topic"]].publish(request.body)}


@service.get("/api/topics/{topic}/messages")
def read(request: Request) -> Any:
    try:
        after = int(request.query.get("after", 0))
        wait = min(float(request.query.get("wait", 0)), LONGEST_WAIT)
    except ValueError as error:
        raise RefusedError(422, "after and wait are numbers") from error
    return {"messages": topics[request.params["topic"]].after(after, wait)}


if __name__ == "__main__":
    service.run()
