"""What authentication costs: a heartbeat that shows a credential, and one that shows nothing.

One gateway with the policy of a control plane (roles, guarded components, revocations, an audit log for failures) is
sent the same heartbeat by an anonymous caller, with a token, with an API key and with the credential of a component.
What a credential proves is remembered: the first request with it pays for the signature, all others for a look-up.

The server is a process of its own with uvloop. The load comes from this process over keep-alive connections on the
loopback interface, in rounds that take turns. What counts is the CPU time of the server process per request.

    python benches/heartbeat_auth.py [--rounds 15] [--requests 4000] [--connections 16]
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
from itertools import repeat
from pathlib import Path

import msgspec
import uvloop

from _http import cpu_seconds, request, send
from _measure import gate, parser, section, verdict

BODY = b'{"instance_uuid":"7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11","metrics":{"requests_per_second":12.5}}'
GATE = 1.25
"""CPU per request of an anonymous heartbeat must be at least that of an authenticated one, divided by this."""


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/components/{id}/heartbeat`."""

    instance_uuid: str
    metrics: dict[str, float] = {}


class Reply(msgspec.Struct):
    """Its answer."""

    known: bool
    state: str | None
    next_interval: float


async def serve(directory: Path) -> None:
    from tekton.auth.keys import KeyRing
    from tekton.clock import SYSTEM_CLOCK
    from tekton.core.component_lifecycle import ComponentRegistry
    from tekton.gateway.admission import Admission, Limits
    from tekton.gateway.app import Gateway, Request, Route
    from tekton.gateway.server import GatewayServer
    from tekton.service.component_credentials import ComponentCredentials
    from tekton.service.security import Security
    from tekton.utils.tekton_config import TektonConfig

    async def heartbeat(call: Request) -> Reply:
        return Reply(bool(call.params["component_id"] and call.body.instance_uuid), "ready", 10.0)

    (directory / "run").mkdir()
    (directory / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(directory)}}))
    (directory / "security.json").write_text('{"principals": {"billing": ["component"]}}')
    registry = ComponentRegistry()
    security = Security(
        TektonConfig.load(directory / "tekton.json", environ={}),
        registry.documents,
        KeyRing.generate(SYSTEM_CLOCK.time()),
        credential="the credential of the owner",
        components=ComponentCredentials(directory, "run", SYSTEM_CLOCK.time),
        clock=SYSTEM_CLOCK,
        report=lambda *_: None,
    )
    security.know_components(lambda component_id: component_id == "worker", lambda: 0)
    key, _ = await security.api_keys.create("billing", ["component"], security.now())
    file = security.components.provide("worker", None)
    assert file is not None
    route = Route(
        "POST",
        "/api/components/{component_id}/heartbeat",
        heartbeat,
        "A heartbeat",
        "components:heartbeat",
        body=Beat,
        unique_keys=False,
        repeats="harmless",
        attributed=False,
        response=Reply,
        vital=True,
    )
    admission = Admission(
        Limits(rate=1e6, burst=1_000_000)
    )  # what one may have is not asked here, what asking costs is
    server = GatewayServer(Gateway([route], policy=security.policy, admission=admission), "127.0.0.1", 0)
    await server.start()
    callers = {
        "anonymous": ("rhetor", None),
        "token": ("billing", (await security.issue("billing", ["component"], 3600)).text),
        "key": ("billing", key),
        "credential": ("worker", file.read_text()),
    }
    print(json.dumps({"port": server.port, "callers": callers}), flush=True)
    await asyncio.Event().wait()


async def measure(process: "subprocess.Popen[str]", arguments: argparse.Namespace) -> dict[str, list[float]]:
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    port = told["port"]
    beats = {
        name: request(
            port,
            "POST",
            f"/api/components/{component_id}/heartbeat",
            BODY,
            *([] if credential is None else [f"Authorization: Bearer {credential}"]),
        )
        for name, (component_id, credential) in told["callers"].items()
    }
    each = arguments.requests // arguments.connections
    spent: dict[str, list[float]] = {name: [] for name in beats}
    order = list(beats)
    shuffle = random.Random(0).shuffle
    for round_number in range(arguments.rounds + 1):
        shuffle(order)
        for name in order:
            before = cpu_seconds(process.pid)
            await send(port, [repeat(beats[name], each) for _ in range(arguments.connections)])
            if round_number:  # the first one warms it up
                spent[name].append((cpu_seconds(process.pid) - before) / (each * arguments.connections) * 1e6)
    return spent


def report(spent: dict[str, list[float]]) -> None:
    section("one heartbeat over HTTP, by what it shows")
    for name, costs in spent.items():
        gate(f"CPU, {name}", statistics.median(costs), unit="us", better="lower", spread=(min(costs), max(costs)))
    for name, costs in spent.items():
        if name != "anonymous":
            ratios = sorted(free / shown for free, shown in zip(spent["anonymous"], costs))
            gate(
                f"CPU, {name}",
                statistics.median(ratios),
                1 / GATE,
                against="anonymous",
                spread=(ratios[0], ratios[-1]),
            )


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--requests", type=int, default=4000)
    arguments.add_argument("--connections", type=int, default=16)
    arguments.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve is not None:
        uvloop.run(serve(options.serve))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "--serve", directory]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            spent = uvloop.run(measure(process, options))
        finally:
            process.terminate()
            process.wait()
    report(spent)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
