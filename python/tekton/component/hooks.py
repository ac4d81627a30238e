"""Functions that a component is given to call: async ones are awaited, plain ones run in a thread."""

import asyncio
import inspect
from collections.abc import Callable


async def call_hook(hook: Callable[[], object]) -> object:
    """What *hook* returns, or raises."""
    if inspect.iscoroutinefunction(hook):
        return await hook()
    result = await asyncio.to_thread(hook)
    return await result if inspect.isawaitable(result) else result
