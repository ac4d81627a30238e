"""logs: through the API, and from the files when nothing answers."""

from pathlib import Path
from typing import Any

import pytest


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


def test_a_log_elsewhere_is_not_read_from_files_here(tekton: Any, data_dir: Path) -> None:
    (data_dir / "logs" / "hermes.log").write_text("h1\n")

    assert tekton("logs", "hermes", "--url", "http://127.0.0.1:1").exit_code == 3
