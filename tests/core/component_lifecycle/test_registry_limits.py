"""What a registration may contain: whatever else comes in is refused by its field, and changes nothing."""

import unicodedata
import uuid
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import (
    MAX_METADATA_BYTES,
    ComponentRegistration,
    check_registration,
)
from tekton.utils.tekton_errors import InvalidIdError, InvalidRegistrationError
from tekton.utils.tekton_ids import DOTTED_ID_PATTERN, ID_PATTERN

ID_CHARACTERS = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
ENDS = ID_CHARACTERS - {"-", "_"}

BAD_NAMES = {
    "empty": "",
    "10 KiB": "a" * 10_240,
    "129 characters": "a" * 129,
    "NUL": "a\0b",
    "line break": "a\r\nb",
    "trailing line break": "abc\n",
    "path": "../x",
    "encoded path": "%2e%2e",
    "right-to-left mark": "a\u200fb",
    "right-to-left override": "a\u202eb",
    "zero-width space": "a\u200bb",
    "zero-width joiner": "a\u200db",
    "not composed": "e\u0301",
    "Cyrillic homoglyph": "rheto\u0430",
    "full-width letters": "\uff52\uff48\uff45\uff54\uff4f\uff52",
    "Arabic digits": "\u0661\u0662\u0663",
    "dotless i": "\u0131d",
    "emoji": "\U0001f99c",
    "lone surrogate": "a\ud800b",
    "upper case": "Rhetor",
    "space": "a b",
    "blank": " ",
    "dots": "a.b",
    "hyphen first": "-a",
    "hyphen last": "a-",
}


def is_id(value: str) -> bool:
    """The rule, said in another way."""
    return 1 <= len(value) <= 128 and set(value) <= ID_CHARACTERS and value[0] in ENDS and value[-1] in ENDS


def accepted(**fields: Any) -> bool:
    try:
        check_registration(ComponentRegistration(**{"component_id": "x", **fields}))
    except InvalidRegistrationError:
        return False
    return True


async def refused(registry: ComponentRegistry, **fields: Any) -> InvalidRegistrationError:
    with pytest.raises(InvalidRegistrationError) as refusal:
        await registry.register(ComponentRegistration(**{"component_id": "x", **fields}))
    assert registry.components() == []
    assert len(registry.table) == 0
    return refusal.value


# Ids


@pytest.mark.parametrize("value", BAD_NAMES.values(), ids=BAD_NAMES.keys())
@pytest.mark.parametrize("field", ["component_id", "capabilities", "dependencies"])
async def test_a_name_that_is_no_id_is_refused_where_it_stands(
    registry: ComponentRegistry, field: str, value: str
) -> None:
    if field == "capabilities" and value == "a.b":
        value = "a..b"

    refusal = await refused(registry, **{field: value if field == "component_id" else ["fine", value]})

    assert isinstance(refusal, InvalidIdError)
    assert refusal.field == (f"/{field}" if field == "component_id" else f"/{field}/1")
    assert refusal.nearest is None or is_id(refusal.nearest) or field == "capabilities"
    # What is logged and shown has no line breaks, controls or text that runs backwards.
    assert str(refusal).isprintable()


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text(alphabet="ab-_.9A\u00e9\u0430 \n\0\u200f", max_size=6))
def test_exactly_the_grammar_is_an_id(value: str) -> None:
    assert accepted(component_id=value) is is_id(value)
    assert accepted(dependencies=[value]) is is_id(value)
    parts = value.split(".")
    assert accepted(capabilities=[value]) is (len(value) <= 255 and all(map(is_id, parts)))


@settings(deadline=None)
@given(st.from_regex(ID_PATTERN, fullmatch=True))
def test_everything_of_the_grammar_can_be_registered(value: str) -> None:
    assert accepted(component_id=value, dependencies=[value], capabilities=[value])


@settings(deadline=None)
@given(st.from_regex(DOTTED_ID_PATTERN, fullmatch=True))
def test_capabilities_may_have_several_parts(value: str) -> None:
    assert accepted(capabilities=[value])


async def test_upper_and_lower_case_are_not_two_components(registry: ComponentRegistry) -> None:
    await registry.register(ComponentRegistration(component_id="rhetor"))

    with pytest.raises(InvalidIdError) as refusal:
        await registry.register(ComponentRegistration(component_id="Rhetor"))

    assert refusal.value.nearest == "rhetor"
    assert len(registry.components()) == 1


# Texts


@pytest.mark.parametrize("field", ["component_name", "component_type", "version"])
@settings(deadline=None)
@given(value=st.text())
def test_a_text_is_printable_composed_and_short(field: str, value: str) -> None:
    good = len(value) <= 256 and value.isprintable() and unicodedata.normalize("NFC", value) == value

    assert accepted(**{field: value}) is good


@pytest.mark.parametrize(
    "value", ["a\0b", "a\r\nb", "a\u200fb", "a\u200bb", "e\u0301", "a\ud800", "a" * 257, "a\x9fb", "\ufeffx"]
)
async def test_a_display_name_that_could_deceive_is_refused(registry: ComponentRegistry, value: str) -> None:
    assert (await refused(registry, component_name=value)).field == "/component_name"


@pytest.mark.parametrize("value", ["Rh\u00e9tor", "\u4fee\u8f9e", "\U0001f99c", "a" * 256, "Rhetor (second floor)"])
async def test_a_display_name_may_be_in_any_script(registry: ComponentRegistry, value: str) -> None:
    record, _ = await registry.register(ComponentRegistration(component_id="x", component_name=value))

    assert record.component_name == value


@settings(deadline=None)
@given(st.text())
def test_only_a_canonical_uuid_names_an_instance(value: str) -> None:
    assert not accepted(instance_uuid=value)


@pytest.mark.parametrize("spelling", ["{}", "urn:uuid:{}", " {}", "{}\n"])
def test_other_spellings_of_a_uuid_are_refused(spelling: str) -> None:
    value = str(uuid.uuid4())
    other = spelling.format(value) if spelling != "{}" else value.upper()

    assert accepted(instance_uuid=value)
    assert not accepted(instance_uuid=other)
    assert not accepted(instance_uuid=value.replace("-", ""))


# How much


@pytest.mark.parametrize("field", ["capabilities", "dependencies"])
async def test_256_names_are_allowed_and_not_one_more(registry: ComponentRegistry, field: str) -> None:
    names = [f"n{number}" for number in range(257)]

    assert (await refused(registry, **{field: names})).field == f"/{field}"
    assert (await refused(registry, **{field: [f"n{number}" for number in range(100_000)]})).field == f"/{field}"
    record, _ = await registry.register(ComponentRegistration(component_id="x", **{field: names[:256]}))  # type: ignore[arg-type]
    assert len(getattr(record, field)) == 256


async def test_metadata_has_64_kib_as_json_and_not_one_byte_more(registry: ComponentRegistry) -> None:
    frame = len(msgspec.json.encode({"text": ""}))
    most = {"text": "x" * (MAX_METADATA_BYTES - frame)}

    assert (await refused(registry, metadata={"text": most["text"] + "x"})).field == "/metadata"
    assert (await refused(registry, metadata={"text": "x" * 10 * 2**20})).field == "/metadata"
    # As JSON it is twice as long.
    assert (await refused(registry, metadata={"text": '"' * (MAX_METADATA_BYTES // 2)})).field == "/metadata"
    record, _ = await registry.register(ComponentRegistration(component_id="x", metadata=most))
    assert record.metadata == most


# Numbers


@pytest.mark.parametrize("value", [0, -1, 10_001, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400])
async def test_a_number_out_of_range_is_refused(registry: ComponentRegistry, value: int) -> None:
    assert (await refused(registry, max_instances=value)).field == "/max_instances"


@pytest.mark.parametrize("value", [1.0, 1.5, "1", None, True, float("nan")])
async def test_what_is_no_integer_is_refused(registry: ComponentRegistry, value: Any) -> None:
    assert (await refused(registry, max_instances=value)).field == "/max_instances"


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**300])
async def test_numbers_in_metadata_that_a_database_cannot_hold_come_back_as_they_went(
    tmp_path: Any, value: int
) -> None:
    async with ComponentRegistry(tmp_path) as registry:
        await registry.register(ComponentRegistration(component_id="x", metadata={"n": value}))

    async with ComponentRegistry(tmp_path) as registry:
        assert registry.find("x").metadata == {"n": value}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "kept"), [(float("nan"), None), (float("inf"), None), ({1: 2}, {"1": 2}), ({"a"}, ["a"]), (1.0, 1.0)]
)
async def test_metadata_is_kept_as_json_has_it(registry: ComponentRegistry, value: Any, kept: Any) -> None:
    record, _ = await registry.register(ComponentRegistration(component_id="x", metadata={"value": value}))

    assert record.metadata == {"value": kept}


class Kind(StrEnum):
    AGENT = "agent"
    PLACE = "http://agent:1"


class Empty(dict[str, Any]):
    """Not what comes back from a disk."""


def test_what_is_kept_are_plain_values_whatever_the_registration_was_made_of() -> None:
    given = ComponentRegistration(
        component_id=Kind.AGENT,
        component_type=Kind.AGENT,
        capabilities=(Kind.AGENT,),
        endpoint=Kind.PLACE,
        metadata=Empty(),
    )

    kept = check_registration(given)

    assert kept == given
    values = [kept.component_id, kept.component_type, kept.endpoint, *kept.capabilities]
    assert {type(value) for value in values} == {str}
    assert type(kept.metadata) is dict


async def test_a_registration_can_be_changed_afterwards_without_changing_what_is_kept(
    registry: ComponentRegistry,
) -> None:
    given = ComponentRegistration(component_id="x")

    record, _ = await registry.register(given)
    given.metadata["later"] = 1

    assert record.metadata == {}


async def test_metadata_that_json_cannot_have_is_refused(registry: ComponentRegistry) -> None:
    assert (await refused(registry, metadata={"value": object()})).field == "/metadata"
