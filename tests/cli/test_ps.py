"""ps: what stands in the table, what is left out, and how it goes on."""

import json
from datetime import datetime
from typing import Any

import pytest


@pytest.fixture
def five(plane: Any, double: Any) -> Any:
    plane.components = [
        double.view("engram", uptime=725.0, port=8000, pid=101, cpu=0.011, memory=67_000_000),
        double.view("greeter", "starting", note="waiting for rhetor"),
        double.view("hermes", uptime=725.0, port=8001, pid=100, cpu=1.32, memory=1_300_000_000),
        double.view(
            "rhetor",
            "degraded",
            uptime=41.5,
            port=8003,
            pid=102,
            cpu=0.0,
            memory=900_000,
            restarts=2,
            note="fallback: local_llm",
            replicas=3,
            ready_replicas=2,
            capabilities=["text", "chat"],
        ),
        double.view("synthesis", "failed", restarts=5, port=8009, note="exit code 137; retry in 8 s"),
    ]
    return plane


def test_ps_prints_one_row_per_component_and_what_needs_attention(tekton: Any, five: Any) -> None:
    result = tekton("ps")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "COMPONENT  STATE         HEALTH  RESTARTS  UPTIME  CPU   MEM   PORT  NOTE",
        "engram     ready         ok             0  12m     1.1%  64M   8000",
        "greeter    starting      -              0  -       -     -     -     waiting for rhetor",
        "hermes     ready         ok             0  12m     132%  1.2G  8001",
        "rhetor     degraded 2/3  warn           2  41s     0.0%  879K  8003  fallback: local_llm",
        "synthesis  failed        fail           5  -       -     -     8009  exit code 137; retry in 8 s",
        "",
        "5 components: 2 ready, 1 degraded, 1 starting, 1 failed        tekton why synthesis",
    ]
    assert result.stderr == ""


def test_status_is_another_name_for_ps(tekton: Any, five: Any) -> None:
    assert tekton("status").stdout == tekton("ps").stdout


def test_ps_shows_only_the_components_that_are_named(tekton: Any, five: Any) -> None:
    assert tekton("ps", "-o", "name", "rhetor", "hermes").stdout == "rhetor\nhermes\n"


def test_ps_of_a_mistyped_name_says_what_was_probably_meant(tekton: Any, five: Any) -> None:
    result = tekton("ps", "hermse")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr == "error[component_not_found]: no component 'hermse'\nhelp: did you mean 'hermes'?\n"


def test_ps_as_json_is_the_answer_of_the_api(tekton: Any, five: Any) -> None:
    document = json.loads(tekton("ps", "-o", "json").stdout)

    assert [component["component_id"] for component in document["components"]] == [
        "engram",
        "greeter",
        "hermes",
        "rhetor",
        "synthesis",
    ]
    assert document["components"] == five.components
    assert json.loads(tekton("ps", "--json").stdout) == document


def test_ps_as_jsonl_is_one_component_a_line(tekton: Any, five: Any) -> None:
    lines = tekton("ps", "-o", "jsonl").stdout.splitlines()

    assert [json.loads(line) for line in lines] == five.components


def test_ps_without_components_says_so(tekton: Any, plane: Any) -> None:
    assert tekton("ps").stdout.splitlines()[-1] == "no components"


def test_a_note_cannot_break_the_table_or_reach_the_terminal(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("evil", "failed", note="one\ntwo\x1b[2Jthree")]

    result = tekton("ps", color=True)

    assert "one two [2Jthree" in result.stdout
    assert "\x1b[2J" not in result.stdout


def test_wide_adds_process_instance_version_and_capabilities(tekton: Any, five: Any) -> None:
    lines = tekton("ps", "-o", "wide", "rhetor").stdout.splitlines()

    headings = "COMPONENT STATE HEALTH RESTARTS UPTIME CPU MEM PORT PID INSTANCE VERSION CAPABILITIES NOTE"
    assert lines[0].split() == headings.split()
    assert lines[1].endswith("  879K  8003  102  00000000  1.0.0    text,chat     fallback: local_llm")


def test_ps_can_be_restricted_to_states_and_to_a_type(tekton: Any, five: Any, double: Any) -> None:
    five.components.append(double.view("worker", component_type="worker"))

    assert tekton("ps", "-o", "name", "--state", "failed", "--state", "degraded").stdout == "rhetor\nsynthesis\n"
    assert tekton("ps", "-o", "name", "--type", "worker").stdout == "worker\n"
    assert tekton("ps", "--state", "failed").stdout.splitlines()[-1].startswith("1 component: 1 failed")


def test_a_group_stands_for_its_members(tekton: Any, five: Any) -> None:
    for view in five.components[:2]:
        view["groups"] = ["front"]

    assert tekton("ps", "-o", "name", "@front", "rhetor").stdout == "engram\ngreeter\nrhetor\n"
    assert tekton("ps", "@frnt").exit_code == 5


def test_a_note_is_never_cut_in_a_pipe(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed", note="because " * 50)]

    assert "because " * 49 in tekton("ps").stdout


@pytest.mark.parametrize("output", ["json", "name"])
def test_what_is_watched_has_no_end_and_so_is_no_document(tekton: Any, plane: Any, output: str) -> None:
    assert tekton("ps", "-w", "-o", output).exit_code == 2


def test_watched_in_a_pipe_every_change_is_a_row_below_the_headings(background: Any, five: Any, double: Any) -> None:
    run = background("ps", "-w")
    lines = [run.line() for _ in range(6)]
    five.components[1] |= {"state": "ready", "health": "ok", "note": None, "uptime": 0.2}
    five.publish(double.change(2, "greeter", "starting", "ready"))
    five.publish(double.change(3, "hermes", "ready", "failed", reason="exit 1"))

    assert lines[0].startswith("COMPONENT")
    assert [run.line() for _ in range(2)] == [
        "greeter    ready         ok             0  0s      -     -     -",
        "hermes     failed        -              0  12m     132%  1.2G  8001  exit 1",
    ]


def test_watched_for_machines_every_change_is_a_component(background: Any, five: Any, double: Any) -> None:
    run = background("ps", "-w", "-o", "jsonl", "--state", "failed")
    assert json.loads(run.line())["component_id"] == "synthesis"
    five.publish(double.change(2, "greeter", "starting", "ready"), double.change(3, "hermes", "ready", "failed"))

    assert json.loads(run.line())["component_id"] == "hermes"


def test_watched_on_a_terminal_the_table_is_redrawn_in_place(terminal: Any, five: Any, double: Any) -> None:
    run = terminal("ps", "--watch")
    run.until("exit code 137")
    five.components = [double.view("hermes", "failed", note="exit 1")]

    shown = run.until("1 component: 1 failed")
    assert "\x1b[8A\r" in shown  # the table, an empty line and the footer are written over
    assert "\x1b[2J" not in shown
    run.interrupt()
    assert run.text.count("\x1b[?25l") == run.text.count("\x1b[?25h") == 1  # the cursor is back


@pytest.mark.parametrize(
    ("columns", "first", "last"),
    [
        (80, "COMPONENT  STATE         HEALTH  RESTARTS  UPTIME  CPU   MEM   PORT  NOTE", "exit code …"),
        (70, "COMPONENT  STATE         HEALTH  RESTARTS  UPTIME  PORT  NOTE", "exit code 13…"),
        (40, "COMPONENT  STATE         PORT  NOTE", "exit cod…"),
        (30, "COMPONE…  STATE         NOTE", "exit …"),
    ],
)
def test_on_a_narrow_terminal_no_line_is_too_long(
    terminal: Any, five: Any, columns: int, first: str, last: str
) -> None:
    lines = terminal("ps", columns=columns).all().splitlines()

    assert lines[0] == first
    assert lines[5].endswith(last)
    assert max(map(len, lines[:6])) <= columns


def test_wide_leaves_nothing_out_on_a_narrow_terminal(terminal: Any, five: Any) -> None:
    shown = terminal("ps", "-o", "wide", columns=40).all().replace("\r", "")

    assert "text,chat     fallback: local_llm\n" in shown
    assert "exit code 137; retry in 8 s\n" in shown


# As one likes it.


def test_ps_prints_a_line_of_ones_own_for_each_component(tekton: Any, five: Any) -> None:
    result = tekton("ps", "rhetor", "hermes", "-o", "template={name:<8}{state:>9} {pid} {capabilities}")

    assert result.stdout == "rhetor   degraded 102 text,chat\nhermes      ready 100 \n"
    assert result.stderr == ""


def test_ps_goes_on_with_such_lines_when_it_watches(background: Any, five: Any, double: Any) -> None:
    run = background("ps", "-w", "engram", "-o", "template={component_id}={state}")
    assert run.line() == "engram=ready"
    five.publish(double.change(2, "engram", "ready", "failed"))

    assert run.line() == "engram=failed"


def test_a_mistyped_field_is_a_mistake_in_the_command(tekton: Any, plane: Any) -> None:
    result = tekton("ps", "-o", "template={nmae}")

    assert result.exit_code == 2
    assert "Invalid value for '-o' / '--output': no field 'nmae'; did you mean 'name'?" in result.stderr
    assert plane.requests == []


def test_a_template_may_name_whatever_json_has(tekton: Any, five: Any) -> None:
    for field in five.components[0]:
        assert tekton("ps", "hermes", "-o", f"template={{{field}}}").exit_code == 0, field


# The past


def past(**fields: Any) -> dict[str, Any]:
    return {"at": 1_700_000_000.0, "known_since": 1_690_000_000.0, "running": True, "machine": {}, **fields}


@pytest.fixture
def yesterday(five: Any) -> Any:
    five.answers["GET /api/system"] = 200, {"revision": 1, "components": five.components[:1], "past": past()}
    return five


def local(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def test_ps_of_the_past_says_so_above_the_table(tekton: Any, yesterday: Any) -> None:
    result = tekton("ps", "--at", "-2h")

    assert result.stdout.splitlines() == [
        f"as it was at {local(1_700_000_000)}; there is data since {local(1_690_000_000)}",
        "",
        "COMPONENT  STATE  HEALTH  RESTARTS  UPTIME  CPU   MEM  PORT  NOTE",
        "engram     ready  ok             0  12m     1.1%  64M  8000",
        "",
        "1 component: 1 ready",
    ]


def test_ps_of_a_time_in_which_the_control_plane_was_down_says_that(tekton: Any, yesterday: Any) -> None:
    yesterday.answers["GET /api/system"][1]["past"] = past(running=False)

    lines = tekton("ps", "--at", "10:31").stdout.splitlines()

    assert lines[1] == "the control plane was down then: this is what it had known before"


def test_ps_of_the_past_for_programs_is_the_answer_of_the_api(tekton: Any, yesterday: Any) -> None:
    assert json.loads(tekton("ps", "--at", "-2h", "-o", "json").stdout)["past"] == past()
    assert tekton("ps", "--at", "-2h", "-o", "name").stdout == "engram\n"


def test_ps_of_the_past_asks_for_that_moment(tekton: Any, yesterday: Any) -> None:
    tekton("ps", "--at", "2026-11-26T10:31:00.25Z")

    assert [path for _, path in yesterday.requests if "at=" in path] == ["/api/system?at=1795689060.250000"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "soon"), "'soon' is no time; write '10:31'"),
        (("--at", "-2h", "-w"), "the past does not change: --at cannot be watched"),
    ],
)
def test_ps_of_no_time_is_a_mistake(tekton: Any, yesterday: Any, arguments: tuple[str, ...], said: str) -> None:
    result = tekton("ps", *arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
