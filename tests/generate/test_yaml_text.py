"""Whatever is written is read as what it was."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tekton.generate.yaml_text import yaml_text

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=150)  # longer ones would need another notation
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4), max_leaves=12
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5))
@example({"long" * 30: [], "b": {}})
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "Off",
        "1e3",
        "0x10",
        "~",
        "",
        " a",
        "a: b",
        "a #b",
        "- a",
        "2026-01-01",
        ".0",
        ".inf",
        "a\nb",
        "é\x85\u2028",
        "=",
        ".",
    ],
)
def test_a_text_that_could_be_something_else_stays_a_text(text: str) -> None:
    assert yaml.safe_load(yaml_text({"key": text, "list": [text], text: 1})) == {"key": text, "list": [text], text: 1}


def test_it_is_laid_out_for_people() -> None:
    value = {"a": {"b": [1, "x y"], "c": []}, "d": [{"e": 1, "f": {"g": True}}, {"e": 2}], "h": {}}

    assert yaml_text(value, "What\n\nit is") == (
        '# What\n#\n# it is\na:\n  b: [1, "x y"]\n  c: []\nd:\n  - e: 1\n    f:\n      g: true\n  - e: 2\nh: {}\n'
    )
