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
    """A row: what it says, where the figure stands, and the same of others, in the words of a template."""

    says: str
    bench: str
    section: str
    row: str
    beside: str = ""


FIGURES = (
    Figure("A process that was killed is known to have failed after", "detection", "How long", "kill -9 to FAILED"),
    Figure(
        "Of 50 processes, one that was killed runs again after",
        "supervisors",
        "50 processes: death",
        "tekton",
        "supervisord takes {tekton, against supervisord} as long, circus {tekton, against circus}",
    ),
    Figure(
        "50 processes are started within",
        "supervisors",
        "50 processes: all running",
        "tekton",
        "supervisord takes {tekton, against supervisord} as long, but circus only {tekton, against circus}",
    ),
    Figure("Durable registrations over HTTP", "register_http", "Durable", "registrations"),
    Figure(
        "CPU for a heartbeat over HTTP",
        "heartbeat_http",
        "One heartbeat",
        "CPU, gateway",
        "FastAPI on uvicorn needs {CPU, fastapi}",
    ),
    Figure("100,000 components are there again, after `kill -9`, in", "scale", "A control plane", "ready again"),
)

_TABLE = re.compile(r"(<!-- figures -->\n).*?(\n<!-- end -->)", re.DOTALL)


def with_current_figures(readme: str, performance: str) -> str:
    """*readme*, with the figures of *performance*. Raises KeyError for one that is not there."""
    rows = [_row(figure, _seen(figure, performance)) for figure in FIGURES]
    table = "\n".join(["| | | Beside it |", "|---|---|---|", *rows])
    return _TABLE.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", readme)


def _seen(figure: Figure, performance: str) -> dict[str, str]:
    """Row -> figure, of the section of its bench."""
    bench = performance.partition(f"<!-- bench {figure.bench} -->")[2].partition("<!-- end -->")[0]
    sections = re.split(r"^(\S.*):$", bench, flags=re.MULTILINE)[1:]
    found = {title: body for title, body in zip(sections[::2], sections[1::2]) if title.startswith(figure.section)}
    if not found:
        raise KeyError(f"{figure.bench}: {figure.section}")
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", next(iter(found.values())), re.MULTILINE))


def _row(figure: Figure, seen: dict[str, str]) -> str:
    value = next((value for row, value in seen.items() if row.startswith(figure.row)), None)
    if value is None:
        raise KeyError(f"{figure.bench}: {figure.row}")
    beside = re.sub(r"\{([^}]+)\}", lambda name: seen[name[1]].replace("x", " times"), figure.beside)
    return f"| {figure.says} | **{value.replace(' /s', ' a second')}** | {beside} |"


if __name__ == "__main__":
    README.write_text(with_current_figures(README.read_text(), PERFORMANCE.read_text()))
