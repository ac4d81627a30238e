"""What `tekton up` shows while it runs."""

import io
from typing import Any

import click
import pytest
from rich.console import Console

from tekton.cli.app import cli
from tekton.cli.progress import Expected, Progress
from tekton.cli.show import Lines, Tree, summary
from tekton.cli.watch import News

SINCE = 1_700_000_000.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def progress(double: Any) -> Progress:
    progress = Progress(
        [
            Expected("hermes", (), 8001),
            Expected("rhetor", ("hermes", "engram")),
            Expected("engram"),
            Expected("athena"),
        ],
        SINCE,
    )
    records = [double.record("hermes"), double.record("athena", "failed", reason="exit code 1\x1b[2J [bold]")]
    progress.apply(News("snapshot", 1, records, None))
    return progress


def test_a_line_per_transition_ends_with_time_and_port(
    progress: Progress, double: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Lines(progress).update(News("change", 2, [], double.change(2, "hermes", "starting", "ready")))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.rstrip().endswith("hermes        starting → ready  0.50 s  :8001")


def test_the_tree_has_a_row_for_every_component_and_says_what_it_waits_for(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    with click.Context(cli):
        tree = Tree(progress)
    tree.finish()

    console = Console(file=io.StringIO(), width=100)
    console.print(tree._table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]

    assert [line.split() for line in shown.splitlines()] == [
        ["●", "hermes", "ready", "0.50", "s", ":8001"],
        ["○", "rhetor", "waiting", "waiting", "for", "engram"],
        ["○", "engram", "waiting"],
        ["✖", "athena", "failed", "0.50", "s", "exit", "code", "1", "[2J", "[bold]"],
    ]


def test_after_the_start_has_settled_the_tree_becomes_lines(
    progress: Progress, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    piece = News("change", 2, [], double.change(2, "hermes", "ready", "degraded"))
    with click.Context(cli):
        tree = Tree(progress)
        tree.update(piece)
        tree.finish()
        before = terminal.getvalue()
        tree.update(piece)

    assert "degraded" not in before
    assert "degraded" in terminal.getvalue()


def test_the_summary_counts_what_is_ready_and_what_is_not(progress: Progress) -> None:
    assert summary(progress, 1.83) == "1 ready, 1 failed in 1.83 s"


def test_a_summary_without_components_says_so() -> None:
    assert summary(Progress([], SINCE), 0.2) == "no components are configured; ready in 0.20 s"
