"""ergon: small jobs, done with the help of other components. Built on tekton.Component.

POST /api/jobs            {"kind": "digest", "prefix": "notes.", "sentences": 2}    run a job, answers with its result
GET  /api/jobs                                                                      the last hundred
GET  /api/jobs/{job_id}

Registration, heartbeats, health, readiness, OpenAPI and an orderly end come with `tekton.Component`.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Literal

import msgspec

import tekton
from tekton import Request, Response, call_capability
from tekton.utils.tekton_errors import TransportError

KEPT = 100

app = tekton.Component("ergon", name="Ergon", version="1.0.0", capabilities=["jobs"], depends_on=["hermes", "rhetor"])


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What to do. A digest is a summary that is published on the hermes topic `digests`; a riff is freely invented."""

    kind: Literal["digest", "riff"]
    prefix: str = "notes."
    sentences: int = 2
    words: int = 12
    seed: int = 1


class Job(msgspec.Struct):
    """An order, and what came of it."""

    id: str
    order: Order
    state: Literal["running", "done", "failed"] = "running"
    result: str | None = None


numbers = count(1)
jobs: dict[str, Job] = {}


@app.post("/api/jobs", body=Order, response=Job)
async def run(request: Request) -> Job:
    """Run a job and answer with its result."""
    job = keep(Job(f"job-{next(numbers)}", request.body))
    try:
        job.result = await KINDS[job.order.kind](job.order)
    except tekton.TektonError:
        job.state = "failed"
        raise
    job.state = "done"
    app.metrics["jobs_done"] = app.metrics.get("jobs_done", 0) + 1
    return job


@app.get("/api/jobs", response=dict[str, list[Job]])
async def list_jobs(_: Request) -> dict[str, list[Job]]:
    """The last hundred jobs."""
    return {"jobs": list(jobs.values())}


@app.get("/api/jobs/{job_id}", response=Job)
async def show_job(request: Request) -> Job | Response:
    """One job."""
    job = jobs.get(request.params["job_id"])
    return job or Response.json({"status": 404, "detail": "no such job"}, status=404)


def keep(job: Job) -> Job:
    jobs[job.id] = job
    if len(jobs) > KEPT:
        del jobs[next(iter(jobs))]
    return job


async def digest(order: Order) -> str:
    wish = {"prefix": order.prefix, "sentences": order.sentences}
    summary: str = (await call("rhetor", "/api/summarize", wish))["text"]
    await call("hermes", "/api/topics/digests/messages", {"prefix": order.prefix, "text": summary})
    return summary


async def riff(order: Order) -> str:
    # Not rhetor by its name: while it is away, whoever stands in for it does this.
    wish = {"prefix": order.prefix, "words": order.words, "seed": order.seed}
    text: str = (await call_capability("text_generation", "/api/generate", "POST", wish))["text"]
    return text


KINDS: dict[str, Callable[[Order], Awaitable[str]]] = {"digest": digest, "riff": riff}


async def call(component_id: str, path: str, data: Any) -> Any:
    component = await tekton.find_component(component_id)
    if component is None:
        raise TransportError(component_id, "not there, or not usable at the moment")
    return await component.call_api(path, "POST", data)


if __name__ == "__main__":
    app.run()
