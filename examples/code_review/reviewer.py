"""reviewer: says what is wrong with code that was analyzed.

An agent whose part of the task begins when the analysis is completed: `context.results` has what that has found.
"""

from typing import Any

from workbook import step

import tekton
from tekton import TaskContext

MOST_LINES = 3

app = tekton.Component("reviewer")


@app.agent("reviewer", capabilities=["code_judgement"], tags=["python"])
async def review(context: TaskContext) -> dict[str, Any]:
    """Says what is wrong with code that was analyzed."""
    found = context.results["analysis"]
    long = await step(context, "length", too_long, found["lengths"])
    silent = await step(context, "documentation", without_a_word, found["undocumented"])
    context.artifact("findings", [*long, *silent])
    verdict = await step(context, "verdict", verdict_on, long, silent)
    return {"verdict": verdict, "findings": [*long, *silent]}


def too_long(lengths: dict[str, int]) -> list[str]:
    """What is to be said of functions that are too long."""
    return [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > MOST_LINES]


def without_a_word(undocumented: list[str]) -> list[str]:
    """What is to be said of functions without a docstring."""
    return [f"{name} says nothing of itself" for name in undocumented]


def verdict_on(long: list[str], silent: list[str]) -> str:
    """Whether it can be merged."""
    return "merge" if not long and not silent else "change"


if __name__ == "__main__":
    app.run()
