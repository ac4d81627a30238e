"""A component that is rolled out anew while it is called."""

import asyncio

import tekton
from tekton.component import Request

app = tekton.Component("greeter", capabilities=["greet"])


@app.get("/api/greet")
async def greet(_: Request) -> dict[str, str]:
    """Greet, after a while: so that some call is always in progress."""
    await asyncio.sleep(0.02)
    return {"text": "Hello."}


if __name__ == "__main__":
    app.run()
