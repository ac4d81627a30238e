"""logs: through the API, and from the files when nothing answers."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tekton.supervisor.log_rotation import mark_start


@pytest.fixture
def two(plane: Any, double: Any) -> Any:
    plane.components = [double.view("engram"), double.view("hermes"), double.view("outside", supervised=False)]
    plane.logs = {"engram": ["e1", "e2"], "hermes": ["h1", "h2", "h3"]}
    return plane


def test_the_lines_of_one_component_stand_alone(tekton: Any, two: Any) -> None:
    assert tekton("logs", "hermes").stdout == "h1\nh2\nh3\n"


def test_the_lines_of_several_components_have_their_names_in_front(tekton: Any, two: Any) -> None:
    result = tekton("logs", "engram", "hermes", "-n", "1")

    assert result.stdout == "engram | e2\nhermes | h3\n"


def test_without_names_all_logs_are_shown_and_missing_ones_told(tekton: Any, two: Any) -> None:
    result = tekton("logs", "-n", "1")

    assert result.exit_code == 0
    assert result.stdout == "engram  | e2\nhermes  | h3\n"
    assert result.stderr == "outside has no log: Tekton does not run its process\n"


def test_a_component_without_a_log_has_exit_status_5(tekton: Any, two: Any) -> None:
    assert tekton("logs", "outside").exit_code == 5


def test_the_log_of_a_mistyped_name_says_what_was_probably_meant(tekton: Any, two: Any) -> None:
    result = tekton("logs", "hermse")

    assert result.exit_code == 5
    assert "did you mean 'hermes'?" in result.stderr


def test_following_prints_past_and_new_lines_and_survives_a_restart(tekton: Any, two: Any, impatient: None) -> None:
    def restart() -> None:
        two.write_log("hermes", "h4")
        two.drop_streams()

    def stop() -> None:
        two.write_log("hermes", "h5")
        two.leave()

    two.on_log_stream = [restart, stop]

    result = tekton("logs", "hermes", "-f", "-n", "2")

    assert result.stdout == "h2\nh3\nh4\nh5\n"
    assert result.exit_code == 3


def test_without_a_control_plane_the_files_are_read(tekton: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_text("h1\nh2\n")
    (data_dir / "logs" / "tekton.log").write_text("t1\n")

    assert tekton("logs", "hermes", "-n", "1").stdout == "h2\n"
    assert tekton("logs").stdout == "hermes | h1\nhermes | h2\ntekton | t1\n"


def test_without_a_control_plane_and_without_files_tekton_is_not_running(tekton: Any) -> None:
    assert tekton("logs").exit_code == 3


def test_the_log_of_the_control_plane_is_called_tekton(tekton: Any, two: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "tekton.log").write_text("t1\n")

    assert tekton("logs", "tekton").stdout == "t1\n"


def test_a_control_plane_whose_log_was_removed_has_none(tekton: Any, two: Any) -> None:
    result = tekton("logs", "tekton")

    assert result.exit_code == 5
    assert "tekton has no log" in result.stderr


def test_a_log_elsewhere_is_not_read_from_files_here(tekton: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_text("h1\n")

    assert tekton("logs", "hermes", "--url", "http://127.0.0.1:1").exit_code == 3


SLOW = '{"time":"2026-01-31T12:00:00Z","level":"warn","message":"slow","ms":12}'


def test_json_lines_are_read_and_raw_leaves_them_alone(tekton: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_text(f"{SLOW}\nplain\n")

    assert tekton("logs", "hermes").stdout == "2026-01-31T12:00:00.000Z WARNING  slow ms=12\nplain\n"
    assert tekton("logs", "hermes", "--raw").stdout == f"{SLOW}\nplain\n"
    assert [json.loads(line)["component"] for line in tekton("logs", "-o", "jsonl").stdout.splitlines()] == [
        "hermes",
        "hermes",
    ]


def test_only_as_many_lines_of_a_level_as_were_asked_for_are_shown(tekton: Any, data_dir: Path) -> None:
    quiet = '{"level":"info","message":"%d"}\n'
    (data_dir / "logs" / "hermes.log").write_text(f"{SLOW}\n" * 3 + "".join(quiet % number for number in range(5000)))

    assert tekton("logs", "hermes", "--raw", "--level", "warning", "-n", "2").stdout == f"{SLOW}\n{SLOW}\n"


def test_what_is_too_old_is_left_out(tekton: Any, data_dir: Path) -> None:
    now = datetime.now(UTC).isoformat()
    (data_dir / "logs" / "hermes.log").write_text(f"{SLOW}\n{now} new\n")

    assert tekton("logs", "hermes", "--since", "10m").stdout == f"{now} new\n"


def test_the_previous_is_what_was_printed_before_the_last_start(tekton: Any, data_dir: Path) -> None:
    log = data_dir / "logs" / "hermes.log"
    (data_dir / "logs" / "hermes.log.1").write_text("old\n")
    log.write_text("before\n")
    with log.open("a") as file:
        mark_start(file.fileno())
        file.write("after\n")

    assert tekton("logs", "hermes", "--previous").stdout in ("old\nbefore\n", "old\n")
    assert tekton("logs", "hermes", "--previous", "-f").exit_code == 2


def test_what_is_asked_for_is_asked_of_the_control_plane(tekton: Any, two: Any) -> None:
    two.components[1]["replicas"] = 2
    two.logs["hermes"] = ["h1"]

    tekton("logs", "hermes", "--level", "error", "--previous")

    asked = [path.partition("?")[2] for _, path in two.requests if "/logs" in path]
    assert asked == ["tail=100&level=error&previous=1", "tail=100&level=error&previous=1&replica=1"]


def test_replicas_have_names_of_their_own(tekton: Any, data_dir: Path) -> None:
    for name in ("worker", "worker.1", "web"):
        (data_dir / "logs" / f"{name}.log").write_text(f"{name}\n")

    assert tekton("logs", "worker").stdout == "worker   | worker\nworker.1 | worker.1\n"
    assert tekton("logs", "worker.1").stdout == "worker.1\n"


def test_lines_of_ten_megabytes_and_binary_do_not_flood_the_terminal(tekton: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_bytes(b"x" * 10_000_000 + b"\n" + bytes(range(256)) + b"\nend\n")

    shown = tekton("logs", "hermes").stdout

    assert len(shown) < 10_000
    assert shown.endswith("\nend\n")
    assert not set(map(chr, range(32))) - {"\n", "\t"} & set(shown)


def test_what_is_configured_and_never_ran_has_not_been_started(tekton: Any, data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_text("one\n")
    (tmp_path / "components.json").write_text('{"components": {"web": {"command": ["web"]}}}')

    result = tekton("logs", "web")

    assert (result.exit_code, result.stderr) == (5, "web has not been started yet\n")
    assert "no component 'wbe'" in tekton("logs", "wbe").stderr


def test_what_the_control_plane_has_never_run_has_not_been_started(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("gpu", "unknown"), double.view("web", "unknown")]
    plane.logs = {"gpu": [], "web": ["of the last run"]}

    assert tekton("logs", "gpu").stderr == "gpu has not been started yet\n"
    assert tekton("logs", "web").stdout == "of the last run\n"


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_what_is_no_log_is_told_and_not_waited_for(tekton: Any, data_dir: Path, follow: tuple[str, ...]) -> None:
    pipe = data_dir / "logs" / "hermes.log"
    os.mkfifo(pipe)

    result = tekton("logs", "hermes", *follow)

    assert result.exit_code == 1
    assert f"error[file_problem]: {pipe}: cannot be read: it is not a regular file" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_of_a_stranger_is_not_followed(tekton: Any, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root:secret\n")
    link = data_dir / "logs" / "hermes.log"
    link.symlink_to(tmp_path / "shadow")
    os.chown(link, 54321, 54321, follow_symlinks=False)

    result = tekton("logs", "hermes")

    assert result.exit_code == 1
    assert "a link that belongs to somebody else" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "~/x", "hermes/../hermes", "hermes.log"])
def test_no_name_leads_out_of_the_logs(tekton: Any, data_dir: Path, name: str) -> None:
    (data_dir / "logs" / "hermes.log").write_text("h1\n")

    result = tekton("logs", name)

    assert (result.exit_code, result.stdout) == (5, "")


def test_a_query_chooses_lines_of_files_and_level_and_since_are_part_of_it(tekton: Any, data_dir: Path) -> None:
    now = datetime.now(UTC).isoformat()
    new = f'{{"time":"{now}","level":"error","message":"slow","ms":300}}'
    (data_dir / "logs" / "hermes.log").write_text(f"{SLOW}\n{new}\nplain slow\n")
    (data_dir / "logs" / "web.log").write_text(f"{SLOW}\n")

    assert tekton("logs", "--raw", "--query", "comp:hermes ms>1 slow").stdout == f"hermes | {SLOW}\nhermes | {new}\n"
    assert tekton("logs", "--raw", "hermes", "--query", "slow since:1h -plain").stdout == f"{new}\n"
    assert tekton("logs", "--raw", "hermes", "--query", "ms>1", "--level", "error").stdout == f"{new}\n"
    assert tekton("logs", "--raw", "hermes", "--query", "ms>1", "--since", "1h").stdout == f"{new}\n"


def test_a_query_is_asked_of_the_control_plane(tekton: Any, two: Any) -> None:
    tekton("logs", "hermes", "--query", "level>=warn /a b/")

    assert [path.partition("?")[2] for _, path in two.requests if "/logs" in path] == [
        "tail=100&query=level%3E%3Dwarn+%2Fa+b%2F"
    ]


def test_a_mistake_in_a_query_is_shown_at_its_place(tekton: Any, two: Any) -> None:
    result = tekton("logs", "--query", "slow levle>=warn")

    assert result.exit_code == 2
    assert "did you mean 'level'?\nslow levle>=warn\n            ^" in result.stderr


def test_only_those_are_asked_whose_lines_a_query_can_want(tekton: Any, two: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "tekton.log").write_text("t1\n")

    assert tekton("logs", "--query", "comp:hermes", "-n", "1").stdout == "hermes  | h3\n"
    assert tekton("logs", "--query", "comp:tekton").stdout == "t1\n"
    assert [path for _, path in two.requests if "/logs" in path] == [
        "/api/components/hermes/logs?tail=1&query=comp%3Ahermes"
    ]
    nothing = tekton("logs", "hermes", "--query", "comp:engram")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
