"""Mistakes that people make in their configuration, each told with its place and the way out."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Case(NamedTuple):
    name: str
    file: str
    text: str
    said: str


def cases() -> list[Case]:
    """Those of config_mistakes.txt; `\\n` in it is a new line of the file."""
    _, *blocks = Path(__file__).with_name("config_mistakes.txt").read_text().split("\n\n")
    found = []
    for block in blocks:
        name, written, said = block.strip().splitlines()
        file, _, text = written.partition(" ")
        found.append(Case(name, file, text.replace("\\n", "\n"), said))
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_mistake_is_told_with_its_place_and_the_way_out(folder: Any, case: Case) -> None:
    folder.write("tekton.json", "{}")
    folder.write(case.file, case.text)

    assert [told.replace(f"{folder.path}/", "/x/") for told in folder.mistakes(HOST="h")] == [case.said]


def test_there_are_enough_of_them() -> None:
    assert len(cases()) >= 40


@pytest.mark.parametrize(
    "text", ['{"web": {"command": ["x"]}}', '{"services": {"web": {"command": "x"}}}', '{"componets": {}}', "{}"]
)
def test_a_components_file_that_starts_nothing_is_not_passed_over_in_silence(folder: Any, text: str) -> None:
    folder.write("components.json", text)

    assert len(folder.mistakes()) == 1
