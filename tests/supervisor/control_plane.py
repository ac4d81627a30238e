"""A small control plane for the guard's tests: `control_plane.py DIR PLAN`, where PLAN is a JSON object.

`spawn`: {name: shell script}, started unless they run already; `then`: what to do next, one word per incarnation
(the last one is repeated): `serve` (until SIGTERM, then stop the children in reverse order and exit with 0), `hang`
(until SIGTERM and beyond), `block` (do not even read), or an exit code. `patience`: what the guard is told of how long
a stop may take. Each incarnation appends a line to `DIR/seen`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from tekton.supervisor.guard_client import GuardClient


def note(directory: Path, **fields: object) -> int:
    with (directory / "seen").open("a") as file:
        file.write(json.dumps(fields) + "\n")
    return len((directory / "seen").read_text().splitlines()) - 1


async def main(directory: Path, plan: dict[str, object]) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    guard = await GuardClient.connect(int(os.environ["TEKTON_GUARD_FD"]), on_lost=lambda: os._exit(70))
    if patience := plan.get("patience"):
        guard.announce_patience(patience)
    before = {child.name: {"pid": child.pid, "exit": child.exit and str(child.exit)} for child in guard.children}
    children = list(guard.children)
    for name, script in plan.get("spawn", {}).items():
        if name not in before:
            log = directory / f"{name}.log"
            children.append(await guard.spawn(name, ["/bin/sh", "-c", script], cwd=directory, log=log))
    now = {child.name: child.pid for child in children}
    incarnation = note(directory, pid=os.getpid(), guard=guard.pid, run_id=guard.run_id, before=before, now=now)

    steps = plan.get("then", ["serve"])
    step = steps[min(incarnation, len(steps) - 1)]
    if isinstance(step, int):
        return step
    if step == "block":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)  # noqa: ASYNC251 - that is the point
    await stop.wait()
    if step == "hang":
        await asyncio.sleep(600)
    for child in reversed(children):
        await guard.stop(child, 5)
        await child.wait_cleared()
        note(directory, stopped=child.name)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))
