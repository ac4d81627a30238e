"""How deep a JSON value is nested."""

from typing import Any


def is_deeper(value: Any, levels: int) -> bool:
    """True when *value*, of dicts, lists and tuples, has containers below that many levels of them."""
    level = [value]
    for _ in range(levels):
        children = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, _CONTAINERS)]
        level = [child for some in children for child in some]
    return any(isinstance(one, _CONTAINERS) for one in level)


_CONTAINERS = (dict, list, tuple)
