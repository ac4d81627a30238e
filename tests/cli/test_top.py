"""top: the greediest first."""

from typing import Any

import pytest


@pytest.fixture
def three(plane: Any, double: Any) -> Any:
    plane.components = [
        double.view("engram", cpu=0.01, memory=2_000_000_000, pid=101, uptime=60.0),
        double.view("greeter", "starting"),
        double.view("hermes", cpu=0.5, memory=1_000_000, pid=100, restarts=2),
    ]
    return plane


def test_in_a_pipe_the_table_is_printed_once(tekton: Any, three: Any) -> None:
    result = tekton("top")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "COMPONENT  STATE      CPU   MEM  RESTARTS  UPTIME  PID",
        "hermes     ready      50%  977K         2  -       100",
        "engram     ready     1.0%  1.9G         0  1m      101",
        "greeter    starting     -     -         0  -       -",
    ]


def test_it_can_be_sorted_by_memory(tekton: Any, three: Any) -> None:
    names = [line.split()[0] for line in tekton("top", "--sort", "mem").stdout.splitlines()[1:]]

    assert names == ["engram", "hermes", "greeter"]


def test_on_a_terminal_keys_choose_the_order_and_the_end(terminal: Any, three: Any) -> None:
    run = terminal("top")
    run.until("c [cpu]  m memory  q quit")
    run.press("m")
    run.until("c cpu  m [memory]  q quit")
    three.components[2]["memory"] = 3_000_000_000
    run.until("2.8G")
    run.press("q")

    assert run.exit_status() == 0
    assert "3 components: 2 ready, 1 starting; cpu 51%, memory " in run.text
    assert run.text.count("\x1b[?25l") == run.text.count("\x1b[?25h") == 1


def test_a_dumb_terminal_gets_the_table_once_and_without_colour(terminal: Any, three: Any) -> None:
    run = terminal("top", term="dumb")

    assert run.exit_status() == 0
    assert "\x1b" not in run.text
    assert "hermes" in run.text
