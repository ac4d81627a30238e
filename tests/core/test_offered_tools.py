"""The tools in a registration: what is accepted of them, and that nothing is shared with who said it."""

from typing import Any

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, check_registration
from tekton.core.offered_tools import MAX_TOOLS, MAX_TOOLS_BYTES, OfferedTool
from tekton.utils.tekton_errors import InvalidIdError, InvalidRegistrationError


def registration(*tools: OfferedTool, **fields: Any) -> ComponentRegistration:
    return ComponentRegistration(component_id="shop", tools=tools, **fields)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_a_registration_without_tools_says_nothing_of_them() -> None:
    plain = check_registration(ComponentRegistration(component_id="shop"))
    empty = check_registration(registration())

    assert b"tools" not in msgspec.json.encode(plain)
    assert b"tools" not in msgspec.json.encode(empty)


def test_tools_are_kept_as_they_were_said() -> None:
    said = {"name": "orders.place", "description": "Place one.", "input_schema": {"type": "object"}, "timeout": 60.0}
    decoded = msgspec.convert({"component_id": "shop", "tools": [said]}, ComponentRegistration)

    kept = check_registration(decoded)

    assert msgspec.to_builtins(kept)["tools"] == (said,)


def test_what_is_kept_is_shared_with_nobody() -> None:
    schema = {"type": "object"}
    kept = check_registration(registration(OfferedTool(name="place", input_schema=schema)))

    schema["type"] = "array"

    assert kept.tools == (OfferedTool(name="place", input_schema={"type": "object"}),)


@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ([OfferedTool(name="Place It")], "/tools/0/name"),
        ([OfferedTool(name="place"), OfferedTool(name="place")], "/tools/1/name"),
        ([OfferedTool(name="place", timeout=0)], "/tools/0/timeout"),
        ([OfferedTool(name="place", timeout=3601)], "/tools/0/timeout"),
        ([OfferedTool(name="x" * 125 + "." + "y" * 125)], "/tools/0/name"),
        ([OfferedTool(name="place", input_schema={"x": object()})], "/tools"),
        ([OfferedTool(name="place", input_schema=nested(70))], "/tools"),
        ([OfferedTool(name="place", annotations=nested(70))], "/tools"),
        ([OfferedTool(name="place", description="x" * MAX_TOOLS_BYTES)], "/tools"),
        ([OfferedTool(name=f"place-{number}") for number in range(MAX_TOOLS + 1)], "/tools"),
        ([OfferedTool(name=1)], "/tools/0/name"),  # type: ignore[arg-type]
    ],
    ids=["name", "twice", "no-time", "too-long", "long", "no-json", "deep", "deep-hints", "large", "many", "type"],
)
def test_what_cannot_be_tools_is_refused(tools: list[OfferedTool], field: str) -> None:
    with pytest.raises(InvalidRegistrationError) as refusal:
        check_registration(registration(*tools))

    assert refusal.value.field == field
    assert isinstance(refusal.value, InvalidIdError) is (field == "/tools/0/name" and tools[0].name == "Place It")


def test_an_unknown_member_of_a_tool_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"unknown field `schema` - at `\$.tools\[0\]`"):
        msgspec.convert({"component_id": "shop", "tools": [{"name": "x", "schema": {}}]}, ComponentRegistration)


async def test_a_registration_with_other_tools_changes_the_record(registry: ComponentRegistry) -> None:
    first = registration(OfferedTool(name="place"))
    record, _ = await registry.register(first)

    again, created = await registry.register(msgspec.structs.replace(first, tools=(OfferedTool(name="cancel"),)))
    without, _ = await registry.register(msgspec.structs.replace(first, tools=msgspec.UNSET))

    assert [tool.name for tool in record.offered] == ["place"]
    assert (created, [tool.name for tool in again.offered]) == (False, ["cancel"])
    assert without.offered == ()


async def test_the_same_tools_again_change_nothing(registry: ComponentRegistry) -> None:
    first = registration(OfferedTool(name="place", input_schema={"type": "object"}))
    record, _ = await registry.register(first)

    again, _ = await registry.register(first)

    assert again.revision == record.revision
