"""A component that calls another one without pause, with one retry, and tells what became of it."""

import asyncio
import json

import tekton
from tekton.utils.call_tokens import CallTokens
from tekton.utils.component_client import ControlPlane, Discovery
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import TektonError

AT_ONCE = 4
ONE_RETRY = Retries(attempts=2, share=1.0, savings=1e9)

app = tekton.Component("caller")
answered = 0
failed: list[str] = []


async def call(discovery: Discovery) -> None:
    """Call until this component ends."""
    global answered  # noqa: PLW0603 - a script
    while True:
        try:
            await discovery.call_api("greeter", "/api/greet", timeout=5)
            answered += 1
        except TektonError as error:
            failed.append(repr(error))
        print(json.dumps({"answered": answered, "failed": failed[:3], "failures": len(failed)}), flush=True)


async def main() -> None:
    """Call from several tasks."""
    async with app:
        plane = ControlPlane.from_environment()
        discovery = Discovery(plane, retries=ONE_RETRY, tokens=CallTokens(plane, "caller"))
        async with discovery, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(call(discovery))


if __name__ == "__main__":
    asyncio.run(main())
