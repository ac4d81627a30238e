"""What a decoder's complaint is about: where, what, and which name was probably meant.

msgspec says it in a sentence ("Expected `int`, got `str` - at `$.name`"). Here it is taken apart, so that whoever
decodes for somebody else can answer with a JSON pointer.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import inspect

from tekton.utils.tekton_ids import nearest_name

_PLACE = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


class Misfit(NamedTuple):
    """What does not fit. *nearest* is the name that exists, when one was given that does not."""

    steps: tuple[str, ...]
    problem: str
    nearest: str | None

    @property
    def pointer(self) -> str:
        """A JSON pointer. It stops at a mapping: the decoder does not say under which key."""
        return json_pointer(self.steps[: self.steps.index("...")] if "..." in self.steps else self.steps)


def misfit(kind: Any, message: str) -> Misfit:
    """What *message*, of the msgspec.ValidationError of decoding as *kind*, says."""
    problem, steps, unknown = _take_apart(message)
    nearest = nearest_name(unknown[:64], _names(inspect.type_info(kind), steps[:-1])) if unknown else None
    return Misfit(tuple(steps), problem, nearest)


def json_pointer(steps: Sequence[object]) -> str:
    """The JSON pointer (RFC 6901) of *steps*, keys and indices from the root."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _take_apart(message: str) -> tuple[str, list[str], str | None]:
    """The problem, the steps to it, and the name that is unknown, if that is the problem."""
    place = _PLACE.search(message)
    steps = [name or index for name, index in _STEP.findall(place[1])] if place else []
    problem = message[: place.start()] if place else message
    if found := _UNKNOWN.fullmatch(problem):
        return "unknown field", [*steps, found[1]], found[1]
    if found := _MISSING.fullmatch(problem):
        return "required and missing", [*steps, found[1]], None
    return problem.replace("`", ""), steps, None


def _names(kind: inspect.Type, steps: Sequence[str]) -> list[str]:
    """The field names of the Struct that *steps* lead to from *kind*; nothing when they lead elsewhere."""
    match kind:
        case inspect.StructType() if not steps:
            return [field.encode_name for field in kind.fields]
        case inspect.StructType():
            fields = {field.encode_name: field.type for field in kind.fields}
            return _names(fields[steps[0]], steps[1:]) if steps[0] in fields else []
        case inspect.UnionType():
            return [name for member in kind.types for name in _names(member, steps)]
        case inspect.DictType() if steps:
            return _names(kind.value_type, steps[1:])
        case inspect.CollectionType() if steps:
            return _names(kind.item_type, steps[1:])
        case _:
            return []
