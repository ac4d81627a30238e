"""hermes: a service directory, and topics to publish to and read from. Plain Python, everything in memory.

PUT    /api/registry/services/{name}            {"url": ...}   enter a service
GET    /api/registry/services                                  all of them
DELETE /api/registry/services/{name}                           remove it
POST   /api/topics/{topic}/messages             any JSON       publish; answers the sequence number
GET    /api/topics/{topic}/messages?after=&wait=               what came after a sequence number; waits for news
"""

from collections import defaultdict, deque
from threading import Condition
from typing import Any

from peers import RefusedError
from serving import Request, Service

KEPT = 1000  # messages per topic
LONGEST_WAIT = 30.0  # seconds

service = Service("hermes", port=8001, announced=False)


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


services: dict[str, str] = {}
topics: defaultdict[str, Topic] = defaultdict(Topic)


@service.get("/api/registry/services")
def list_services(_: Request) -> Any:
    return {"services": dict(sorted(services.items()))}


@service.route("PUT", "/api/registry/services/{name}")
def enter_service(request: Request) -> Any:
    if not isinstance(request.body, dict) or not isinstance(request.body.get("url"), str):
        raise RefusedError(422, 'expected {"url": "http://..."}')
    name = request.params["name"]
    services[name] = request.body["url"]
    topics["services"].publish({"entered": name})
    service.log(f"{name} is at {services[name]}")
    return {"name": name, "url": services[name]}


@service.route("DELETE", "/api/registry/services/{name}")
def remove_service(request: Request) -> Any:
    if services.pop(request.params["name"], None) is None:
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
