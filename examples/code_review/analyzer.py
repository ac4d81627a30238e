"""analyzer: looks at Python code, and says what there is in it.

An agent with three steps. What a step has returned is on the disk of the control plane before the next one begins.
"""

import ast
from typing import Any

from workbook import step

import tekton
from tekton import TaskContext

app = tekton.Component("analyzer")


@app.agent("analyzer", capabilities=["code_analysis"], tags=["python"])
async def analyze(code: str, context: TaskContext) -> dict[str, Any]:
    """Says which functions there are in Python code, and how long they are."""
    functions = await step(context, "parse", functions_in, code)
    context.progress(1, 3, f"{len(functions)} functions")
    lengths = await step(context, "measure", lengths_of, code)
    context.progress(2, 3)
    undocumented = await step(context, "documentation", undocumented_in, code)
    return {"functions": functions, "lengths": lengths, "undocumented": undocumented}


def functions_in(code: str) -> list[str]:
    """The names of the functions."""
    return [function.name for function in _functions(code)]


def lengths_of(code: str) -> dict[str, int]:
    """How many lines each function has."""
    return {one.name: (one.end_lineno or one.lineno) - one.lineno + 1 for one in _functions(code)}


def undocumented_in(code: str) -> list[str]:
    """The functions without a docstring."""
    return [function.name for function in _functions(code) if ast.get_docstring(function) is None]


def _functions(code: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]


if __name__ == "__main__":
    app.run()
