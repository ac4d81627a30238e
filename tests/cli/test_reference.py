"""docs/reference/cli.md and the pages in cli/ say what the commands say."""

import re
from typing import Any

import pytest

from tekton.cli import problems


@pytest.fixture
def text(reference: Any) -> str:
    return str(reference.REFERENCE.read_text())


def test_the_reference_shows_the_help_of_every_verb_as_it_is(reference: Any) -> None:
    texts = [page.read_text() for page in reference.PAGES]

    assert set().union(*map(reference.shown, texts)) == reference.verbs()
    assert [reference.with_current_help(text) for text in texts] == texts, "run python tests/cli/reference.py"


def test_the_index_leads_to_every_verb(reference: Any, text: str) -> None:
    first_words = {verb.partition(" ")[0] for verb in reference.verbs()}

    assert first_words <= set(re.findall(r"\[`([\w-]+)`\]\(cli/\w+\.md#", text))


def test_the_reference_lists_every_exit_status(text: str) -> None:
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}

    assert listed == {value for name, value in vars(problems).items() if name.isupper() and isinstance(value, int)}
