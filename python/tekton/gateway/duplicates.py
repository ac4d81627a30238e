"""Keys that an object of a JSON document has twice.

Parsers disagree about which of the two counts, so that what one part of a system has checked another may not see. The
decoder takes the last one and says nothing.
"""

import json
import re
from typing import Any

_STRING = re.compile(rb'"([^"]*)"(\s*:)?')


class _Object(list[tuple[str, Any]]):
    """An object with all its keys."""


def repeated_key(body: bytes) -> str | None:
    """The JSON pointer of a key that stands there twice; None when there is none. *body* is JSON, a decoder has said.

    One look at the strings settles it for most documents: those in which no key occurs twice anywhere. O(length).
    """
    if b"\\" not in body:
        keys = [text for text, colon in _STRING.findall(body) if colon]
        if len(set(keys)) == len(keys):
            return None
    return _find(json.loads(body, object_pairs_hook=_Object, parse_int=str), "")


def _find(value: Any, pointer: str) -> str | None:
    if isinstance(value, _Object):
        seen: set[str] = set()
        for key, member in value:
            place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in seen:
                return place
            seen.add(key)
            if (found := _find(member, place)) is not None:
                return found
    elif isinstance(value, list):
        for index, member in enumerate(value):
            if (found := _find(member, f"{pointer}/{index}")) is not None:
                return found
    return None
