"""Tests of tekton.core.lifecycle: the table of states, and exactly what a registration may say."""

import math
import sys
import uuid
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from component_records import component_record

from tekton.core.lifecycle import (
    MAX_METADATA_BYTES,
    STATES,
    VALID_TRANSITIONS,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    can_transition,
    check_registration,
    new_instance_uuid,
    share_strings,
)
from tekton.utils.tekton_errors import InvalidIdError, InvalidRegistrationError


def registration(**fields: Any) -> ComponentRegistration:
    return ComponentRegistration(**{"component_id": "x", **fields})


def checked(**fields: Any) -> ComponentRegistration:
    return check_registration(registration(**fields))


def refusal(**fields: Any) -> tuple[str, str]:
    """The field that is refused, and why."""
    with pytest.raises(InvalidRegistrationError) as caught:
        checked(**fields)
    return caught.value.field, caught.value.problem


def record(state: ComponentState) -> ComponentRecord:
    return component_record(instance_uuid="6ba7b810-9dad-41d1-80b4-00c04fd430c8", state=state)


def unshared(text: str) -> str:
    """*text* as an object of its own, as a decoder makes it."""
    return text.encode().decode()


# States.


@pytest.mark.parametrize("current", STATES)
def test_a_state_may_be_followed_by_those_of_the_table_and_by_no_other(current: ComponentState) -> None:
    assert [target for target in STATES if can_transition(current, target) is True] == sorted(
        VALID_TRANSITIONS[current], key=STATES.index
    )
    assert {can_transition(current, target) for target in STATES} == {True, False}


def test_a_component_is_usable_when_it_is_ready_or_degraded() -> None:
    usable = [state for state in STATES if record(state).usable is True]

    assert usable == [ComponentState.READY, ComponentState.DEGRADED]
    assert record(ComponentState.FAILED).usable is False


# What is kept.


def test_an_instance_gets_a_uuid_of_its_own() -> None:
    one, other = registration(), registration()

    assert one.instance_uuid != other.instance_uuid
    assert str(uuid.UUID(new_instance_uuid())) != one.instance_uuid
    assert checked(instance_uuid=new_instance_uuid())


@pytest.mark.parametrize("kind", [list, tuple])
def test_names_are_kept_in_order_and_once(kind: type[list[str]] | type[tuple[str, ...]]) -> None:
    one = registration(capabilities=kind(["chat", "embed", "chat"]), dependencies=kind(["hermes", "hermes"]))
    other = registration(capabilities=kind(["chat", "chat"]), dependencies=kind(["hermes"]))

    assert (one.capabilities, one.dependencies) == (("chat", "embed"), ("hermes",))
    assert (other.capabilities, other.dependencies) == (("chat",), ("hermes",))


def test_a_registration_that_says_nothing_else_is_accepted_as_it_is() -> None:
    one = registration()

    assert check_registration(one) == one


def test_what_is_accepted_is_a_copy_that_shares_nothing_that_can_change() -> None:
    one = registration(
        component_name="Hermes",
        component_type="broker",
        version="1.2.3",
        capabilities=["messages.send"],
        dependencies=["engram"],
        endpoint="http://127.0.0.1:8001",
        max_instances=3,
        metadata={"tags": ["a"], "limits": {"queue": 5}},
    )

    copy = check_registration(one)
    assert copy == one
    one.metadata["tags"].append("b")
    assert copy.metadata == {"tags": ["a"], "limits": {"queue": 5}}


def test_capabilities_may_have_dots_and_ids_may_not() -> None:
    assert checked(capabilities=["text.chat"]).capabilities == ("text.chat",)

    for field in ("component_id", "dependencies"):
        with pytest.raises(InvalidIdError) as caught:
            checked(**{field: "text.chat" if field == "component_id" else ["hermes", "text.chat"]})
        assert caught.value.field == ("/component_id" if field == "component_id" else "/dependencies/1")
        assert caught.value.nearest == "text-chat"


@pytest.mark.parametrize("field", ["capabilities", "dependencies"])
def test_a_name_that_is_no_id_is_refused_by_its_position(field: str) -> None:
    with pytest.raises(InvalidIdError) as caught:
        checked(**{field: ["fine", "fine-too", "Not Fine"]})

    assert (caught.value.field, caught.value.value) == (f"/{field}/2", "Not Fine")


# How much.


@pytest.mark.parametrize("field", ["capabilities", "dependencies"])
def test_256_names_are_accepted_and_257_are_not(field: str) -> None:
    names = [f"n{number}" for number in range(257)]

    assert getattr(checked(**{field: names[:256]}), field) == tuple(names[:256])
    assert refusal(**{field: names}) == (f"/{field}", "257 names; at most 256 are allowed")


@pytest.mark.parametrize("field", ["component_name", "component_type", "version"])
def test_a_text_has_a_greatest_length(field: str) -> None:
    assert getattr(checked(**{field: "x" * 256}), field) == "x" * 256

    assert refusal(**{field: "x" * 257}) == (f"/{field}", "must be printable and at most 256 characters")


@pytest.mark.parametrize("field", ["component_name", "component_type", "version"])
def test_a_text_is_printable_and_composed(field: str) -> None:
    assert refusal(**{field: "a\nb"}) == (f"/{field}", "must be printable and at most 256 characters")
    assert refusal(**{field: "e\u0301"}) == (f"/{field}", "must be in Unicode's composed form (NFC)")
    # A ligature is another character than its letters: composed, though not the same under NFKC.
    assert getattr(checked(**{field: "o\ufb03ce \u00e9"}), field) == "o\ufb03ce \u00e9"


def test_a_component_need_not_have_an_endpoint() -> None:
    assert checked(endpoint=None).endpoint is None
    assert checked(endpoint="").endpoint == ""


def test_an_endpoint_is_a_url_that_can_be_called() -> None:
    longest = "http://h/" + "e" * (2048 - len("http://h/"))

    assert checked(endpoint=longest).endpoint == longest
    assert refusal(endpoint=f"{longest}e") == ("/endpoint", "must have at most 2048 characters")
    assert refusal(endpoint="file:///etc/passwd") == ("/endpoint", "must be a URL that begins with http:// or https://")
    assert refusal(endpoint="http://me:pw@h/") == ("/endpoint", "must not name a user or a password")


def test_there_may_be_between_1_and_10000_instances() -> None:
    assert [checked(max_instances=count).max_instances for count in (1, 2, 9_999, 10_000)] == [1, 2, 9_999, 10_000]

    for count in (-1, 0, 10_001):
        assert refusal(max_instances=count) == ("/max_instances", "must be between 1 and 10000")


def test_what_has_ended_is_forgotten_after_zero_seconds_to_ten_years() -> None:
    periods = (None, 0.0, 0.25, 60, 315_360_000.0)
    assert [checked(forget_after=period).forget_after for period in periods] == list(periods)
    assert type(checked(forget_after=60).forget_after) is float

    for period in (-0.001, 315_360_001.0, math.inf, math.nan):
        assert refusal(forget_after=period) == ("/forget_after", "must be between 0 and 315360000 seconds")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "6BA7B810-9DAD-41D1-80B4-00C04FD430C8",
        "6ba7b810-9dad-41d1-80b4-00c04fd430c",
        "6ba7b810-9dad-41d1-80b4-00c04fd430c88",
        "6ba7b8109dad41d180b400c04fd430c8",
    ],
)
def test_an_instance_is_named_by_a_uuid_in_canonical_form(value: str) -> None:
    assert refusal(instance_uuid=value) == ("/instance_uuid", f"{value!r} is not a UUID in its canonical form")


# Metadata.


def metadata_of(size: int) -> dict[str, str]:
    """Metadata that is *size* bytes long as JSON."""
    return {"text": "x" * (size - len(msgspec.json.encode({"text": ""})))}


def test_metadata_may_be_64_kib_whatever_else_is_said_and_not_one_byte_more() -> None:
    most = metadata_of(64 * 1024)

    assert MAX_METADATA_BYTES == 64 * 1024
    assert checked(metadata=most, component_name="n" * 256, endpoint="http://h/" + "e" * 2039).metadata == most
    assert refusal(metadata=metadata_of(64 * 1024 + 1)) == ("/metadata", "larger than 65536 bytes as JSON")


def test_much_else_is_not_counted_as_metadata() -> None:
    names = [f"{'n' * 120}{number}" for number in range(256)]

    one = checked(capabilities=[f"{name}.{name}" for name in names], dependencies=names, metadata={"small": 1})

    assert len(msgspec.json.encode(one)) > MAX_METADATA_BYTES
    assert one.metadata == {"small": 1}


def nested(levels: int, *, kinds: str) -> dict[str, Any]:
    """Metadata of so many containers one in another: dicts (d) and lists (l) in turn, as *kinds* says from within."""
    value: Any = {} if kinds[0] == "d" else []
    for level in range(1, levels):
        value = {"in": value} if kinds[level % len(kinds)] == "d" or level == levels - 1 else [value]
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("kinds", ["d", "l", "dl", "ld"])
def test_metadata_may_be_nested_64_levels_deep_and_not_one_more(kinds: str) -> None:
    assert checked(metadata=nested(64, kinds=kinds)).metadata == nested(64, kinds=kinds)

    assert refusal(metadata=nested(65, kinds=kinds)) == ("/metadata", "nested more than 64 levels deep")


def test_how_many_lists_and_objects_stand_side_by_side_does_not_matter() -> None:
    wide = {"objects": [{"n": number} for number in range(500)], "lists": {f"n{number}": [] for number in range(500)}}

    assert checked(metadata=wide).metadata == wide


def test_a_branch_that_is_too_deep_is_found_beside_shallow_ones() -> None:
    assert refusal(metadata={"flat": 1, "list": [[], {}], "deep": nested(64, kinds="d")})[0] == "/metadata"


def test_metadata_that_json_cannot_have_is_refused_with_the_cause() -> None:
    field, problem = refusal(metadata={"value": object()})

    assert field == "/metadata"
    assert problem == "cannot be JSON: Encoding objects of type object is unsupported"


def test_metadata_that_contains_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle

    assert refusal(metadata=circle)[0] == "/metadata"


# Types, which Python does not check.


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"component_id": None}, "/component_id", "Expected `str`, got `null`"),
        ({"component_name": 5}, "/component_name", "Expected `str`, got `int`"),
        ({"endpoint": 5}, "/endpoint", "Expected `str | null`, got `int`"),
        ({"capabilities": ["chat", 5]}, "/capabilities/1", "Expected `str`, got `int`"),
        ({"dependencies": [None]}, "/dependencies/0", "Expected `str`, got `null`"),
        ({"max_instances": "1"}, "/max_instances", "Expected `int`, got `str`"),
        ({"max_instances": 1.5}, "/max_instances", "Expected `int`, got `float`"),
        ({"forget_after": "60"}, "/forget_after", "Expected `float | null`, got `str`"),
        ({"forget_after": True}, "/forget_after", "Expected `float | null`, got `bool`"),
        ({"metadata": ["a"]}, "/metadata", "Expected `object`, got `array`"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_a_json_pointer(
    fields: dict[str, Any], field: str, problem: str
) -> None:
    assert refusal(**fields) == (field, problem)


def test_a_value_is_kept_as_the_plain_type_that_it_will_be_after_a_restart() -> None:
    class Count(IntEnum):
        THREE = 3

    kept = checked(max_instances=Count.THREE).max_instances

    assert (type(kept), kept) == (int, 3)


def test_a_registration_of_a_class_of_its_own_is_kept_as_any_other() -> None:
    class Special(ComponentRegistration, frozen=True, kw_only=True):
        pass

    assert type(check_registration(Special(component_id="x"))) is ComponentRegistration


# Strings that many components have in common.


def test_components_share_the_strings_that_they_have_in_common() -> None:
    fields = {"component_type": "broker-x", "version": "9.8.7", "capabilities": ["cap-x"], "dependencies": ["dep-x"]}
    one, other = (
        msgspec.json.decode(msgspec.json.encode(registration(**fields)), type=ComponentRegistration) for _ in range(2)
    )

    share_strings(one)
    share_strings(other)

    assert (one.component_type, one.version) == ("broker-x", "9.8.7")
    assert one.component_type is other.component_type is sys.intern(unshared("broker-x"))
    assert one.version is other.version is sys.intern(unshared("9.8.7"))
    assert one.capabilities == ("cap-x",)
    assert one.capabilities is other.capabilities
    assert one.dependencies == ("dep-x",)
    assert one.dependencies is other.dependencies
    assert one.dependencies[0] is sys.intern(unshared("dep-x"))


@pytest.mark.parametrize(("count", "shared"), [(8, True), (9, False)])
def test_lists_of_up_to_eight_names_are_shared_as_a_whole_and_longer_ones_name_by_name(
    count: int, shared: bool
) -> None:
    names = [f"long-list-{number}" for number in range(count)]
    one, other = checked(capabilities=names), checked(capabilities=[unshared(name) for name in names])

    assert one.capabilities == other.capabilities == tuple(names)
    assert (one.capabilities is other.capabilities) is shared
    assert all(mine is yours for mine, yours in zip(one.capabilities, other.capabilities, strict=True))
