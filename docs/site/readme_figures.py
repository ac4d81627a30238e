"""Keeps the figures of README.md those that stand in docs/performance.md.

python docs/site/readme_figures.py      write them anew, after `make bench`

A figure in the README has no other source. Here is which ones it shows, with whom it compares, and in what words.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"


class Figure(NamedTuple):
    """A row: what it says, where the figure stands, and what to see beside it: a template of other rows there."""

    says: str
    bench: str
    section: str
    row: str
    beside: str


FIGURES = (
    Figure(
        "Of 50 processes, one that was killed runs again after",
        "supervisors",
        "50 processes: death",
        "tekton",
        "supervisord takes {tekton, against supervisord} as long, circus {tekton, against circus}",
    ),
    Figure(
        "50 processes are stopped within",
        "supervisors",
        "50 processes: stop",
        "tekton",
        "supervisord takes {tekton, against supervisord} as long, circus {tekton, against circus}, "
        "honcho {tekton, against honcho}",
    ),
    Figure(
        "CPU for a heartbeat over HTTP",
        "heartbeat_http",
        "One heartbeat",
        "CPU, gateway",
        "FastAPI on uvicorn needs {CPU, fastapi}, a handler of Granian that does nothing {CPU, bare}",
    ),
    Figure(
        "Messages of Agent2Agent a second, beside a2a-sdk on uvicorn",
        "agent2agent",
        "SendMessage",
        "messages a second: Tekton, against a2a-sdk on uvicorn",
        "{messages a second: Tekton, durable, against a2a-sdk on uvicorn} when each is on the disk first",
    ),
    Figure(
        "Of 1,000 callers that wait for an open circuit breaker, a component that was ill gets at once",
        "breaker",
        "1,000 callers",
        "tekton",
        "pybreaker lets {pybreaker} through, purgatory {purgatory}",
    ),
    Figure(
        "A process that was killed is known to have failed after",
        "detection",
        "How long",
        "kill -9 to FAILED",
        "by a lease of a second it would be known after {latest, with the way of the event}",
    ),
    Figure(
        "Durable registrations over HTTP",
        "register_http",
        "Durable",
        "registrations",
        "of 64 clients; 99 of 100 are acknowledged within {acknowledged after, 99 of 100}",
    ),
    Figure(
        "100,000 components are there again, after `kill -9`, in",
        "scale",
        "A control plane",
        "ready again",
        "each takes {memory for each beyond its record} beside its record",
    ),
    Figure(
        "Where it is behind: 50 processes are started within",
        "supervisors",
        "50 processes: all running",
        "tekton",
        "supervisord takes {tekton, against supervisord} as long, circus {tekton, against circus}, "
        "honcho {tekton, against honcho}",
    ),
)

_TABLE = re.compile(r"(<!-- figures -->\n).*?(\n<!-- end -->)", re.DOTALL)


def with_current_figures(readme: str, performance: str) -> str:
    """*readme*, with the figures of *performance*. Raises KeyError for one that is not there."""
    rows = [_row(figure, seen(figure.bench, figure.section, performance)) for figure in FIGURES]
    table = "\n".join(["| | | Beside it |", "|---|---|---|", *rows])
    return _TABLE.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", readme)


def seen(bench: str, section: str, performance: str) -> dict[str, str]:
    """Row -> figure, of the section of *bench* that begins so. Raises KeyError."""
    text = performance.partition(f"<!-- bench {bench} -->")[2].partition("<!-- end -->")[0]
    sections = re.split(r"^(\S.*):$", text, flags=re.MULTILINE)[1:]
    found = {title: body for title, body in zip(sections[::2], sections[1::2]) if title.startswith(section)}
    if not found:
        raise KeyError(f"{bench}: {section}")
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", next(iter(found.values())), re.MULTILINE))


def in_words(figure: str) -> str:
    """*figure* as it stands in a sentence."""
    return re.sub(r"(?<=\d)x$", " times", figure.replace(" /s", " a second"))


def _row(figure: Figure, rows: dict[str, str]) -> str:
    value = next((value for row, value in rows.items() if row.startswith(figure.row)), None)
    if value is None:
        raise KeyError(f"{figure.bench}: {figure.row}")
    beside = re.sub(r"\{([^}]+)\}", lambda name: in_words(rows[name[1]]), figure.beside)
    return f"| {figure.says} | **{in_words(value)}** | {beside} |"


if __name__ == "__main__":
    README.write_text(with_current_figures(README.read_text(), PERFORMANCE.read_text()))
