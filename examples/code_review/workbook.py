"""The workbook: a file with a line for each step that was begun, so that one sees what was done, and how often.

It is `data/steps.txt`, or what STEPS says. WORK is for how many seconds each step takes.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tekton import TaskContext

STEPS = Path(os.environ.get("STEPS", "data/steps.txt"))
WORK = float(os.environ.get("WORK", "1"))

T = TypeVar("T")


async def step(context: TaskContext, name: str, function: Callable[..., T], *args: object) -> T:
    """Have *function* called as a step of the task, unless it was completed before."""

    def noted() -> T:
        STEPS.parent.mkdir(parents=True, exist_ok=True)
        with STEPS.open("a") as workbook:
            workbook.write(f"{context.task_id} {context.agent_id} {name}\n")
        time.sleep(WORK)
        return function(*args)

    result: T = await context.step(name, noted)
    return result
