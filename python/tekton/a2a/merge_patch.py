"""JSON Merge Patch (RFC 7396): what two contexts are together.

A member of the patch replaces the one of that name; objects are merged member by member; null takes a member away.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["merged"]


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """*target* with *patch* applied. Neither is changed; what is not touched is shared. O(members of the two)."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = value
    return result
