"""What `tekton up` shows while it runs."""

import io
import re
import threading
from typing import Any

import click
import pytest
from screen import Screen

from tekton.cli.app import cli
from tekton.cli.progress import Expected, Progress
from tekton.cli.render import say
from tekton.cli.show import Lines, Quiet, Tree, choose, critical_path, summary
from tekton.cli.watch import News
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import ProblemError

SINCE = 1_700_000_000.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        screen = Screen()
        screen.write(self.getvalue())
        return screen.text()[:-1]


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
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with click.Context(cli, **cli.context_settings):
        notes = {("engram", "unknown"): "http /ready: no answer", ("hermes", "ready"): "never shown"}
        tree = Tree(progress, note_of=lambda name, state: notes.get((name, state)))
    tree.announce("stopping")
    tree.finish()

    assert terminal.lines() == [
        "  ●  hermes  ready    0.50 s  :8001",
        "  ○  rhetor                          waiting for engram",
        "  ○  engram  waiting                 http /ready: no answer",
        "  ✖  athena  failed   0.50 s         exit code 1 [2J [bold]",
        "stopping",
    ]
    assert "\x1b[32mready\x1b[0m" in terminal.getvalue()


def test_what_is_on_its_way_turns(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(), ManualClock()
    monkeypatch.setattr("sys.stderr", terminal)
    with click.Context(cli, **cli.context_settings):
        tree = Tree(progress, clock)
    marks = []
    for _ in range(3):
        say("look")
        marks.append([line.split()[0] for line in terminal.lines()[-4:]])
        clock.advance(0.1)
    tree.finish()

    assert marks == [["●", "⠋", "⠋", "✖"], ["●", "⠙", "⠙", "✖"], ["●", "⠹", "⠹", "✖"]]


def test_without_colour_the_tree_has_none(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with click.Context(cli, color=False):
        Tree(progress).finish()

    assert "ready" in terminal.getvalue()
    assert "m" not in re.findall(r"\x1b\[[?0-9;]*(.)", terminal.getvalue())


def test_after_the_start_has_settled_the_tree_becomes_lines(
    progress: Progress, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    piece = News("change", 2, [], double.change(2, "hermes", "ready", "degraded"))
    with click.Context(cli, **cli.context_settings):
        tree = Tree(progress)
        tree.update(piece)
        tree.finish()
        before = terminal.getvalue()
        tree.finish()
        tree.update(piece)

    assert "degraded" not in before
    assert "degraded" in terminal.getvalue()
    assert terminal.getvalue().startswith(before)
    assert not any(thread.name == "picture" for thread in threading.enumerate())


def test_the_summary_counts_what_is_ready_and_what_is_not(progress: Progress) -> None:
    assert summary(progress, 1.83) == "1 ready, 1 failed in 1.83 s"


def test_a_summary_without_components_says_so() -> None:
    assert summary(Progress([], SINCE), 0.2) == "no components are configured; ready in 0.20 s"


class Client:
    """Answers one path."""

    def __init__(self, startup: Any = None) -> None:
        self._startup = startup

    def get(self, path: str, **_: Any) -> Any:
        if path == "/api/startup" and self._startup is not None:
            return self._startup
        raise ProblemError(404, "route_not_found", path)


def test_the_critical_path_is_told_when_it_is_one() -> None:
    path: Any = Client({"critical_path": ["hermes", "engram", "rhetor"]})
    alone: Any = Client({"critical_path": ["hermes"]})
    old: Any = Client()

    assert critical_path(path) == "critical path hermes → engram → rhetor"
    assert critical_path(alone) == critical_path(old) == ""


@pytest.mark.parametrize("environment", [{"CI": "true"}, {"TERM": "dumb"}])
def test_there_is_no_tree_under_ci_or_on_a_dumb_terminal(
    progress: Progress, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client: Any = Client()

    assert isinstance(choose(progress, client, quiet=False), Lines)


def test_lines_and_silence_can_be_asked_for_on_a_terminal(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    client: Any = Client()

    assert isinstance(choose(progress, client, quiet=False, plain=True), Lines)
    assert isinstance(choose(progress, client, quiet=True), Quiet)
