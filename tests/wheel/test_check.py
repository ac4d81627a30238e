"""Which interpreters the wheel is tried with, and which of them have to be there."""

from pathlib import Path

import pytest
from load_script import load_script

check = load_script(Path(__file__).with_name("check.py"))


@pytest.fixture(autouse=True)
def only_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with Python 3.11 and 3.13."""
    here = {name: f"/usr/bin/{name}" for name in ("python3.11", "python3.13")}
    monkeypatch.setattr(check, "interpreter", here.get)


def test_without_names_it_is_all_that_are_here_and_the_others_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.interpreters([]) == ["/usr/bin/python3.11", "/usr/bin/python3.13"]

    assert "not here: python3.12, python3.14" in capsys.readouterr().out


def test_those_that_are_named_have_to_be_here() -> None:
    assert check.interpreters(["python3.13"]) == ["/usr/bin/python3.13"]
    with pytest.raises(SystemExit, match=r"^not here: python3\.12$"):
        check.interpreters(["python3.11", "python3.12"])


def test_without_any_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "interpreter", lambda _: None)

    with pytest.raises(SystemExit, match="not here"):
        check.interpreters([])
