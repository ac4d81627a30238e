"""The unit of a system."""

import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tekton.generate.blueprint import Blueprint
from tekton.generate.systemd import systemd

PROGRAM = Path("/opt/tekton/bin/tekton")


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_it_runs_the_system_where_it_is(system: Blueprint) -> None:
    said = settings(systemd(system, PROGRAM, "llm").shown)

    assert said["ExecStart"] == "/opt/tekton/bin/tekton up --no-progress"
    assert (said["User"], said["WorkingDirectory"]) == ("llm", str(system.directory))
    assert said["Environment"] == "TEKTON_DATA_DIR=/var/lib/llm"
    # Four components one after the other: 10, 10, 25 and 10 seconds, and 10 for Tekton itself.
    assert said["TimeoutStopSec"] == "65"
    assert (said["NoNewPrivileges"], said["CapabilityBoundingSet"]) == ("yes", "")


def test_the_data_directory_is_that_of_the_configuration(make_system: Any) -> None:
    system = make_system(main={"data_dir": "/var/lib/tekton"})
    shown = systemd(system, PROGRAM, "llm").shown

    said = settings(shown)
    assert (said["Environment"], said["StateDirectory"]) == ("TEKTON_DATA_DIR=/var/lib/tekton", "tekton")
    assert said["ReadWritePaths"] == str(system.directory)
    assert "sudo useradd --system --home-dir /var/lib/tekton " in shown


def test_a_data_directory_elsewhere_is_made_by_hand_and_can_be_written(make_system: Any, tmp_path: Path) -> None:
    shown = systemd(make_system(main={"data_dir": "/mnt/a b"}), PROGRAM, "llm").shown

    said = settings(shown)
    assert said["Environment"] == '"TEKTON_DATA_DIR=/mnt/a b"'
    assert said["ReadWritePaths"] == f'{tmp_path} "/mnt/a b"'
    assert "StateDirectory" not in said
    assert "#     sudo chown --recursive llm '/mnt/a b'" in shown


@pytest.mark.parametrize("written", ["${HOME}/data", "~/data"])
def test_a_data_directory_of_whoever_runs_it_is_not_that_of_the_service(make_system: Any, written: str) -> None:
    said = settings(systemd(make_system(main={"data_dir": written}), PROGRAM, "llm").shown)

    assert said["Environment"] == "TEKTON_DATA_DIR=/var/lib/llm"


@pytest.mark.parametrize(("place", "own"), [("/srv/llm", "yes"), ("/tmp/llm", "no"), ("/var/tmp/llm", "no")])
def test_what_lies_below_tmp_is_seen(system: Blueprint, place: str, own: str) -> None:
    said = settings(systemd(replace(system, directory=Path(place)), PROGRAM, "llm").shown)

    assert said["PrivateTmp"] == own


def test_components_of_other_users_need_root(make_system: Any) -> None:
    said = settings(systemd(make_system({"a": {"command": "a", "user": "b"}}), PROGRAM, "llm").shown)

    assert (said["User"], said["NoNewPrivileges"]) == ("root", "no")
    assert "CAP_SETUID" in said["CapabilityBoundingSet"]


@pytest.mark.parametrize(
    ("program", "home"), [(PROGRAM, "yes"), (Path("/home/ada/.venv/bin/tekton"), "read-only")], ids=["opt", "home"]
)
def test_homes_can_be_read_only_if_the_system_lies_in_one(system: Blueprint, program: Path, home: str) -> None:
    assert settings(systemd(system, program, "llm").shown)["ProtectHome"] == home


@pytest.mark.skipif(which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_it_and_does_not_find_it_exposed(system: Blueprint, tmp_path: Path) -> None:
    unit = tmp_path / "llm.service"
    text = systemd(system, Path("/bin/true"), "root").shown
    unit.write_text(text.replace(str(system.directory), "/"))

    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in verified.stderr.splitlines() if "DelegateSubgroup" not in line]
    assert (verified.returncode, complaints) == (0, [])
    assert judged.returncode == 0, judged.stdout[-200:]
