"""Procfiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.cli.importers.draft import Draft, ImportedError
from tekton.cli.importers.procfile import read_procfile

PROCFILE = """\
# what runs
web: gunicorn app:app -b 0.0.0.0:$PORT

worker:  python worker.py --queues high,low
Release: sh -c 'x; y'
"""


def test_a_process_is_a_component_with_a_port_where_it_asks_for_one(tmp_path: Path, loaded: Any) -> None:
    (tmp_path / ".env").write_text("A=1\n")

    components = loaded(read_procfile(PROCFILE, tmp_path / "Procfile"))

    assert components["web"].command == ["sh", "-c", "gunicorn app:app -b 0.0.0.0:$PORT"]
    assert (components["web"].port, components["worker"].port) == (5000, None)
    assert components["worker"].command == ["python", "worker.py", "--queues", "high,low"]
    assert all(component.env == {"A": "1"} for component in components.values())


def test_what_is_different_is_noted(tmp_path: Path, notes: Callable[[Draft], dict[str, str]]) -> None:
    assert set(notes(read_procfile(PROCFILE, tmp_path / "Procfile"))) == {"Procfile", "Procfile.Release"}


def test_a_line_that_is_none_is_told_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(ImportedError, match=r"Procfile:2: expected NAME: COMMAND"):
        read_procfile("web: x\nnonsense\n", tmp_path / "Procfile")
