"""A page of the reference, taken apart."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

_REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^\|[-| ]+\|\n((?:\|.*\|\n?)+)", re.MULTILINE)


class Text:
    """Markdown, or a part of it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def sections(self, level: int) -> "dict[str, Text]":
        """Heading (without backticks) -> what stands below it, up to the next heading that is not deeper."""
        found = re.split(rf"^(#{{1,{level}}}) (.+)$", self.text, flags=re.MULTILINE)[1:]
        parts = zip(found[::3], found[1::3], found[2::3], strict=True)
        return {heading.strip("`"): Text(body) for marks, heading, body in parts if len(marks) == level}

    def examples(self) -> list[object]:
        """The JSON blocks, decoded."""
        return [json.loads(body) for language, body in _FENCE.findall(self.text) if language == "json"]

    def rows(self) -> list[list[str]]:
        """The cells of all table rows, without heads and rules."""
        lines = [line for table in _TABLE.findall(self.text) for line in table.splitlines()]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def item(self, name: str) -> str:
        """The list item that begins with *name*; empty when there is none."""
        found = re.search(rf"^- {name}: (.*(?:\n  .*)*)$", self.text, re.MULTILINE)
        return found[1] if found else ""


@pytest.fixture(scope="session")
def page() -> Callable[[str], Text]:
    """`page("errors")`: that page of the reference."""
    return lambda name: Text((_REFERENCE / f"{name}.md").read_text())


@pytest.fixture(scope="session")
def names() -> Callable[[str], list[str]]:
    """`names(text)`: what stands in backticks."""
    return lambda text: re.findall(r"`([^`]+)`", text)
