"""auth: the credential, and as whom one acts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_credential_of_the_data_directory_is_printed(tekton: Any, data_dir: Path) -> None:
    (data_dir / "run" / "credential").write_text("s3cret\n")

    result = tekton("auth", "token")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "s3cret\n", "")


def test_without_a_credential_it_is_said_what_makes_one(tekton: Any) -> None:
    result = tekton("auth", "token")

    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr.startswith("error[unauthenticated]: there is no credential in ")


def test_the_credential_of_somebody_else_is_not_read(tekton: Any, data_dir: Path) -> None:
    (data_dir / "run" / "credential").mkdir()

    result = tekton("auth", "token")

    assert result.exit_code == 7
    assert "is not yours to read" in result.stderr


def refuse(plane: Any, double: Any, *paths: str) -> None:
    for path in paths:
        plane.answers[f"GET {path}"] = double.problem(401, "unauthenticated", "a credential is needed")


LOGS = "/api/components/tekton/logs"


@pytest.mark.parametrize(
    ("refused", "caller"), [((), "owner"), ((LOGS,), "local"), ((LOGS, "/api/system"), "stranger")]
)
def test_the_control_plane_is_asked_who_one_is(
    tekton: Callable[..., Any], plane: Any, double: Any, refused: tuple[str, ...], caller: str
) -> None:
    refuse(plane, double, *refused)

    told = json.loads(tekton("auth", "whoami", "-o", "json").stdout)

    assert told["caller"] == caller
    assert tekton("auth", "whoami").stdout.startswith(f"{caller}: may {told['may']} (through ")


def test_another_refusal_is_an_error(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers[f"GET {LOGS}"] = double.problem(503, "unavailable", "stopping")

    assert tekton("auth", "whoami").exit_code == 1
