"""docs/reference/cli.md says what the commands say."""

import re
from typing import Any

import pytest

from tekton.cli import problems


@pytest.fixture
def text(reference: Any) -> str:
    return str(reference.REFERENCE.read_text())


def test_the_reference_shows_the_help_of_every_verb_as_it_is(reference: Any, text: str) -> None:
    assert reference.shown(text) == reference.verbs()
    assert reference.with_current_help(text) == text, "run python tests/cli/reference.py"


def test_the_reference_lists_every_exit_status(text: str) -> None:
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}

    assert listed == {value for name, value in vars(problems).items() if name.isupper() and isinstance(value, int)}
