"""version: of this program, and of the control plane."""

import json
from importlib.metadata import version
from typing import Any


def test_version_without_a_control_plane(tekton: Any) -> None:
    result = tekton("version")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"tekton {version('tekton-core')} (Python 3.")
    assert result.stdout.count("\n") == 1


def test_version_as_an_option_says_the_same_of_this_program(tekton: Any, plane: Any) -> None:
    assert tekton("--version").stdout == tekton("version").stdout.splitlines(keepends=True)[0]
    assert tekton("--version").exit_code == 0


def test_version_with_a_control_plane(tekton: Any, plane: Any) -> None:
    assert tekton("version").stdout.splitlines()[1] == "control plane 0.1.0 (Python 3.11.7, process 4711)"


def test_version_as_json(tekton: Any, plane: Any) -> None:
    document = json.loads(tekton("version", "--json").stdout)

    assert document["version"] == version("tekton-core")
    assert document["control_plane"] == {"version": "0.1.0", "python": "3.11.7", "pid": 4711}
