"""Types of which a JSON schema can be made, and yet no JSON fits: the decoder only says so when it meets a value."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

__all__ = ["unfit"]

_NO_KEYS = (inspect.BoolType, inspect.NoneType, inspect.CollectionType, inspect.DictType)
_OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)
_UNHASHABLE = (inspect.ListType, inspect.SetType, inspect.DictType, inspect.TypedDictType, inspect.ByteArrayType)


def unfit(kind: Any) -> str | None:
    """Why *kind* has a part that nothing in JSON is, or None.

    The key of an object is a text, so none is a bool or a list; and what changes cannot be in a set.
    """
    seen: set[type] = set()
    waiting = [inspect.type_info(kind)]
    while waiting:
        part = waiting.pop()
        match part:
            case inspect.DictType() if not any(map(_is_key, _alternatives(part.key_type))):
                return f"no key of an object is a {_named(part.key_type)}"
            case inspect.SetType() | inspect.FrozenSetType() if not any(map(_hashable, _alternatives(part.item_type))):
                return f"no {_named(part.item_type)} can be in a set"
        if isinstance(part, _OBJECTS):
            if part.cls in seen:
                continue
            seen.add(part.cls)
        waiting.extend(_parts(part))
    return None


def _parts(kind: inspect.Type) -> Iterable[inspect.Type]:
    match kind:
        case inspect.Metadata():
            return (kind.type,)
        case inspect.UnionType():
            return kind.types
        case inspect.DictType():
            return (kind.key_type, kind.value_type)
        case inspect.TupleType():
            return kind.item_types
        case inspect.CollectionType():
            return (kind.item_type,)
    return [field.type for field in getattr(kind, "fields", ())]


def _alternatives(kind: inspect.Type) -> Iterable[inspect.Type]:
    bare = _bare(kind)
    return bare.types if isinstance(bare, inspect.UnionType) else (bare,)


def _bare(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _is_key(kind: inspect.Type) -> bool:
    return not isinstance(kind, (*_NO_KEYS, *_OBJECTS, inspect.TupleType))


def _hashable(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StructType):
        config = kind.cls.__struct_config__
        return config.frozen or not config.eq or kind.cls.__hash__ is not msgspec.Struct.__hash__
    if isinstance(kind, inspect.DataclassType):
        return kind.cls.__hash__ is not None
    return not isinstance(kind, _UNHASHABLE)


def _named(kind: inspect.Type) -> str:
    return type(_bare(kind)).__name__.removesuffix("Type").lower()
