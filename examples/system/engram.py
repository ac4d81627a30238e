"""engram: a memory. Keys and JSON values, kept in one file that survives restarts. Plain Python.

POST   /api/memory/store      {"key": ..., "value": ...}    remember
GET    /api/memory/{key}                                    recall ("accept: text/plain" gives a text as it is)
GET    /api/memory?prefix=                                  all keys and values that begin so
DELETE /api/memory/{key}                                    forget

Each change is published on the hermes topic `memory.updated`, when hermes is there.
The file is `data/engram.json`, or what ENGRAM_FILE says.
"""

import json
import os
from pathlib import Path
from threading import Lock
from typing import Any

from peers import RefusedError, call
from serving import Request, Service


class Memory:
    """A dict with a file behind it. A change is in the file before it is answered, or it did not happen."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._values: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def __len__(self) -> int:
        return len(self._values)

    def recall(self, key: str) -> Any:
        return self._values[key]

    def select(self, prefix: str) -> dict[str, Any]:
        return {key: value for key, value in sorted(self._values.items()) if key.startswith(prefix)}

    def store(self, key: str, value: Any) -> None:
        with self._lock:
            self._replace({**self._values, key: value})

    def forget(self, key: str) -> None:
        with self._lock:
            self._replace({kept: value for kept, value in self._values.items() if kept != key})

    def _replace(self, values: dict[str, Any]) -> None:
        draft = self._file.with_suffix(".new")
        with draft.open("w") as stream:
            json.dump(values, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._file)
        self._values = values


service = Service("engram", port=8000, capabilities=["memory_storage"])
memory = Memory(Path(os.environ.get("ENGRAM_FILE", "data/engram.json")))


@service.post("/api/memory/store")
def store(request: Request) -> Any:
    if not isinstance(request.body, dict) or not request.body.get("key") or "value" not in request.body:
        raise RefusedError(422, 'expected {"key": ..., "value": ...}')
    key = str(request.body["key"])
    memory.store(key, request.body["value"])
    publish({"stored": key})
    return {"stored": key, "memories": len(memory)}


@service.get("/api/memory")
def select(request: Request) -> Any:
    return {"memories": memory.select(request.query.get("prefix", ""))}


@service.get("/api/memory/{key}")
def recall(request: Request) -> Any:
    try:
        value = memory.recall(request.params["key"])
    except KeyError:
        raise RefusedError(404, f"no memory of {request.params['key']!r}") from None
    as_it_is = isinstance(value, str) and request.accept.startswith("text/plain")
    return value if as_it_is else {"key": request.params["key"], "value": value}


@service.route("DELETE", "/api/memory/{key}")
def forget(request: Request) -> Any:
    memory.forget(request.params["key"])
    publish({"forgotten": request.params["key"]})
    return {"forgotten": request.params["key"], "memories": len(memory)}


def publish(news: dict[str, str]) -> None:
    try:
        call("hermes", "/api/topics/memory.updated/messages", "POST", news)
    except (OSError, RefusedError) as error:
        service.log(f"not published: {error}")


if __name__ == "__main__":
    service.log(f"{len(memory)} memories")
    service.run()
