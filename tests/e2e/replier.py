"""Hears a request, says so on its output, and never answers. Takes the address of a control plane, and a credential."""

import asyncio
import sys

from tekton.bus.bus import DEFAULT_LIMITS
from tekton.utils.bus_client import BusClient
from tekton.utils.control_plane import ControlPlane


async def main(url: str, credential: str) -> None:
    async with (
        BusClient(ControlPlane(url, credential=credential)) as bus,
        bus.subscribe("ergon.requests.>", limits=DEFAULT_LIMITS) as requests,
    ):
        print("listening", flush=True)
        async for envelope in requests:
            print("asked", envelope.message.context.deadline, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
