"""Schemas that somebody has written."""

import sys
from typing import Any

import pytest

from tekton.mcp.schema_check import MAX_SCHEMA, SchemaCheck, copied_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "place": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {"city": {}}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_what_fits_fits() -> None:
    assert SchemaCheck(SCHEMA).misfit({"name": "Ada", "tags": ["a", "b"], "place": {"city": "Bath"}}) is None


@pytest.mark.parametrize(
    ("value", "pointer", "problem", "nearest"),
    [
        ({}, "/name", "required and missing", None),
        ({"name": "x"}, "/name", "shorter than 2", None),
        ({"name": "Ada", "tags": ["a", "c"]}, "/tags/1", "is not one of", None),
        ({"name": "Ada", "tgas": []}, "/tgas", "unknown field", "tags"),
        ({"name": "Ada", "place": {}}, "/place/city", "required and missing", None),
        ({"name": "Ada", "place": {"city": 1, "tags": 1}}, "/place/tags", "unknown field", None),
        (5, "", "5 is not of type", None),
    ],
)
def test_what_does_not_fit_is_pointed_at(value: Any, pointer: str, problem: str, nearest: str | None) -> None:
    found = SchemaCheck(SCHEMA).misfit(value)

    assert found is not None
    assert (found.pointer, found.nearest) == (pointer, nearest)
    assert problem in found.problem


@pytest.mark.parametrize("value", [object(), {"name": {1, 2}}, {1: 2}])
def test_what_is_no_json_does_not_fit(value: Any) -> None:
    assert SchemaCheck({"type": "object", "properties": {"name": {"type": "string"}}}).misfit(value) is not None


def test_deep_nesting_is_no_harm() -> None:
    deep: list[Any] = []
    schema: dict[str, Any] = {}
    for _ in range(5000):
        deep, schema = [deep], {"not": schema}

    assert SchemaCheck({"items": {"$ref": "#"}}).misfit(deep) is None
    with pytest.raises(ValueError, match="cannot be used: Recursion"):
        SchemaCheck(schema)


def test_a_problem_is_told_in_few_words_however_long_the_value_is() -> None:
    found = SchemaCheck({"type": "integer"}).misfit("x" * 100_000)

    assert found is not None
    assert len(found.problem) <= 300


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "objct"}, "cannot be used"),
        ({"pattern": "("}, "cannot be used"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "cannot be used.*disabled"),
        ({"$ref": "file:///etc/hostname"}, "cannot be used.*disabled"),
        ({"$ref": "#/$defs/lost"}, "cannot be used"),
    ],
)
def test_what_is_no_schema_or_is_elsewhere_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SchemaCheck(schema)


def test_without_the_extra_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)

    with pytest.raises(ImportError, match=r"tekton-core\[schemas\]"):
        SchemaCheck({})


@pytest.mark.parametrize(
    "schema", [{"default": object()}, [1], {"description": "x" * MAX_SCHEMA}], ids=["object", "list", "large"]
)
def test_a_schema_is_a_json_object_of_some_size(schema: Any) -> None:
    with pytest.raises(ValueError, match="the schema is"):
        copied_schema(schema)


def test_a_schema_that_contains_itself_is_refused() -> None:
    schema: dict[str, Any] = {}
    schema["not"] = schema

    with pytest.raises(ValueError, match="the schema is not JSON"):
        copied_schema(schema)


def test_a_copy_shares_nothing() -> None:
    schema = {"properties": {"a": {}}}

    copy = copied_schema(schema)
    copy["properties"]["b"] = {}

    assert schema == {"properties": {"a": {}}}
