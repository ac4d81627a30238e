"""How deep a JSON value is nested."""

from typing import Any

import pytest

from tekton.utils.json_depth import is_deeper


@pytest.mark.parametrize(
    ("value", "depth"),
    [(1, 0), ("[[[", 0), ([], 1), ({"a": 1, "b": [2]}, 2), ([1, [], {"a": ({},)}], 4)],
    ids=["number", "text", "list", "object", "mixed"],
)
def test_a_value_is_deeper_than_fewer_levels_than_it_has(value: Any, depth: int) -> None:
    assert [is_deeper(value, levels) for levels in range(6)] == [levels < depth for levels in range(6)]


def test_very_deep_values_are_looked_at_only_as_far_as_asked() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    assert is_deeper(value, 64)
    while value:  # taken apart level by level: to free it at once would recurse
        value = value[0]
