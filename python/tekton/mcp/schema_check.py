"""JSON schemas that somebody has written: checked and compiled once, then held against values.

The compiler is jsonschema-rs (extra `schemas`), imported with the first schema. It fetches nothing: a schema has to
contain what it refers to. Schemas of strangers are not compiled at all: what they describe is checked where they come
from.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tekton.utils.misfits import json_pointer
from tekton.utils.tekton_ids import nearest_name

__all__ = ["SchemaCheck", "SchemaMisfit", "copied_schema"]

MAX_SCHEMA = 64 * 1024
"""Bytes of a schema as JSON."""
_LONGEST_PROBLEM = 300


class SchemaMisfit(NamedTuple):
    """What of a value does not fit. *nearest* is the member that there is, when one was given that is not."""

    pointer: str
    problem: str
    nearest: str | None = None


def copied_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of *schema*, the JSON schema of an object. Raises ValueError for what cannot be one."""
    try:
        encoded = msgspec.json.encode(schema)
        copy = msgspec.json.decode(encoded, type=dict[str, Any])
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the schema is not JSON: {error}") from None
    if len(encoded) > MAX_SCHEMA:
        raise ValueError(f"the schema is larger than {MAX_SCHEMA} bytes")
    return copy


class SchemaCheck:
    """*schema*, compiled (about 0.2 ms). Raises ValueError for what is no schema, ImportError without the extra."""

    __slots__ = ("_names", "_validator")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        jsonschema_rs = _compiler()
        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), offline=True)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(f"the schema cannot be used: {_first_line(error)}") from None
        properties = schema.get("properties")
        self._names = list(properties) if isinstance(properties, Mapping) else []

    def misfit(self, value: Any) -> SchemaMisfit | None:
        """What of *value* does not fit, or None. Where several things do not, one of them."""
        try:
            error = next(iter(self._validator.iter_errors(value)), None)
        except (ValueError, RecursionError) as refused:  # what is no JSON, or nested too deep
            return SchemaMisfit("", _first_line(refused))
        return None if error is None else self._taken_apart(error)

    def _taken_apart(self, error: Any) -> SchemaMisfit:
        steps = list(error.instance_path)
        match error.kind.name:
            case "required":
                return SchemaMisfit(json_pointer([*steps, error.kind.property]), "required and missing")
            case "additionalProperties" | "unevaluatedProperties":
                name = error.kind.unexpected[0]
                nearest = None if steps else nearest_name(name[:64], self._names)
                return SchemaMisfit(json_pointer([*steps, name]), "unknown field", nearest)
            case _:
                return SchemaMisfit(json_pointer(steps), str(error.message)[:_LONGEST_PROBLEM])


def _compiler() -> Any:
    try:
        import jsonschema_rs
    except ImportError:
        raise ImportError("explicit JSON schemas need jsonschema-rs: pip install 'tekton-core[schemas]'") from None
    return jsonschema_rs


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:_LONGEST_PROBLEM]
