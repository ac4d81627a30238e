"""api_gateway: one door to the rest. It asks several components at once and puts their answers together.

GET  /api/overview             who answers, and what they hold
POST /api/notes                {"key": ..., "text": ...}    keep a note in engram
GET  /api/brief?prefix=&about= what the notes say in two sentences (rhetor), and what is known (athena)

Plain Python. hermes, engram and rhetor it cannot do without, so it is ready when they answer; athena and telos are
welcome but not needed: what they would have said is then null.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from peers import RefusedError, call
from serving import Request, Service

NEEDED = ("hermes", "engram", "rhetor")
ALL = (*NEEDED, "athena", "ergon", "telos")

service = Service("api_gateway", port=8011)
pool = ThreadPoolExecutor(max_workers=16)


@service.ready_when
def needed_components_answer() -> None:
    for component in NEEDED:
        call(component, "/api/health")


@service.get("/api/overview")
def overview(_: Request) -> Any:
    health = {component: pool.submit(answers, component) for component in ALL}
    memories = pool.submit(attempt, "engram", "/api/memory")
    services = pool.submit(attempt, "hermes", "/api/registry/services")
    requirements = pool.submit(attempt, "telos", "/requirements.json")
    return {
        "components": {component: answer.result() for component, answer in health.items()},
        "memories": len((memories.result() or {"memories": ()})["memories"]),
        "services": sorted((services.result() or {"services": ()})["services"]),
        "open_requirements": (requirements.result() or {"open": None})["open"],
    }


@service.post("/api/notes")
def keep_note(request: Request) -> Any:
    if not isinstance(request.body, dict) or not {"key", "text"} <= request.body.keys():
        raise RefusedError(422, 'expected {"key": ..., "text": ...}')
    note = {"key": f"notes.{request.body['key']}", "value": str(request.body["text"])}
    return call("engram", "/api/memory/store", "POST", note)


@service.get("/api/brief")
def brief(request: Request) -> Any:
    wish = {"prefix": request.query.get("prefix", "notes."), "sentences": 2}
    summary = pool.submit(call, "rhetor", "/api/summarize", "POST", wish)
    about = request.query.get("about")
    facts = pool.submit(attempt, "athena", f"/api/query?where={quote(f'{about} ?relation ?to')}") if about else None
    return {"summary": summary.result()["text"], "facts": (facts.result() or {}).get("bindings") if facts else None}


def answers(component: str) -> bool:
    return attempt(component, "/api/health") is not None


def attempt(component: str, path: str) -> Any:
    """The answer, or None when the component has none."""
    try:
        return call(component, path)
    except (OSError, RefusedError):
        return None


if __name__ == "__main__":
    service.run()
