"""Time and chance come from outside: what reads a clock by itself cannot be moved by a test, nor replayed.

The linter bans most of this by name (`pyproject.toml`), but not in the files that it is told to leave alone, and not
what it cannot see.
"""

import ast
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "tekton"

TIME = {
    "clock.py": "the reader of clocks",
    "failpoints.py": "makes a thread wait on purpose",
    "supervisor/guard.py": "a process of its own, of the standard library only",
    "supervisor/guard_log.py": "part of the guard",
    "supervisor/log_rotation.py": "part of the guard: waits a moment for another process, which no test can hasten",
}
CHANCE = {"gateway/sse.py": "when a client comes back; nothing of ours depends on it"}
NOW = {"now", "utcnow", "today"}
DRAWN = {name for name in dir(random) if name[0].islower() and callable(getattr(random, name))}
WAITS = {name for name in dir(time) if callable(getattr(time, name))}


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """Every `module.function` that the file refers to through an imported module, with its line."""
    tree = ast.parse(path.read_text())
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield f"{modules[node.value.id]}.{node.attr}", node.lineno


def offences(path: Path) -> list[str]:
    name = str(path.relative_to(PACKAGE))
    found = []
    for call, line in calls(path):
        module, _, function = call.rpartition(".")
        reads_time = (module == "time" and function in WAITS) or (
            module in ("datetime.datetime", "datetime.date") and function in NOW
        )
        draws = module == "random" and function in DRAWN
        if (reads_time and name not in TIME) or (draws and name not in CHANCE):
            found.append(f"{name}:{line}: {call}")
    return found


def test_only_the_clock_reads_time_and_nobody_draws_lots_without_a_generator() -> None:
    assert [offence for path in sorted(PACKAGE.rglob("*.py")) for offence in offences(path)] == []


def test_what_is_excepted_needs_it() -> None:
    for names, module in ((TIME, "time"), (CHANCE, "random")):
        for name in names:
            assert any(call.startswith(f"{module}.") for call, _ in calls(PACKAGE / name)), name


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("import time\ntime.monotonic_ns()", "time.monotonic_ns"),
        ("import time as t\nt.sleep(1)", "time.sleep"),
        ("from time import monotonic\n", "time.monotonic"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("import random\nrandom.uniform(1, 2)", "random.uniform"),
        ("from random import choice\n", "random.choice"),
    ],
)
def test_an_offence_is_seen(source: str, offence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "bad.py").write_text(source)

    assert next(iter(offences(tmp_path / "bad.py"))).endswith(offence)


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.Random(1).uniform(1, 2)",
        "from random import Random\nRandom().choice([1])",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
    ],
)
def test_a_generator_and_a_time_that_is_given_are_no_offence(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "good.py").write_text(source)

    assert offences(tmp_path / "good.py") == []
