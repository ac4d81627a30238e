"""Whole numbers in what comes over Agent2Agent.

Clients that are made from its protobuf definition have floating numbers only: of 3 they make 3.0, which an agent would
take for something else than it was.
"""

from typing import Any, Final

__all__ = ["with_integers"]

_SAFE: Final = 2**53
"""Up to here, each whole number is a floating one as well."""


def with_integers(value: Any) -> Any:
    """JSON in which floating numbers that are whole are integers, as they were before. O(its size)."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _SAFE:
        return int(value)
    if isinstance(value, dict):
        return {name: with_integers(member) for name, member in value.items()}
    return [with_integers(item) for item in value] if isinstance(value, list) else value
