"""What a decoder's complaint is about."""

from typing import Any

import msgspec
import pytest

from tekton.utils.misfits import Misfit, json_pointer, misfit

UNKNOWN = "unknown field"


class Place(msgspec.Struct, forbid_unknown_fields=True):
    city: str
    tags: list[int] = []
    floors: dict[int, str] = {}
    more: dict[str, int] = {}


class Trip(msgspec.Struct, forbid_unknown_fields=True):
    places: list[Place] = []


@pytest.mark.parametrize(
    ("value", "found", "pointer"),
    [
        ([], Misfit((), "Expected object, got array", None), ""),
        ({"plces": []}, Misfit(("plces",), UNKNOWN, "places"), "/plces"),
        ({"places": [{}]}, Misfit(("places", "0", "city"), "required and missing", None), "/places/0/city"),
        (
            {"places": [{"city": "x", "floors": {"top": "roof"}}]},
            Misfit(("places", "0", "floors"), "Expected int, got str", None),
            "/places/0/floors",
        ),
        ({"places": [{"city": "x", "tgs": 1}]}, Misfit(("places", "0", "tgs"), UNKNOWN, "tags"), "/places/0/tgs"),
    ],
)
def test_a_complaint_is_taken_apart(value: Any, found: Misfit, pointer: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, Trip, str_keys=True)

    assert misfit(Trip, str(refused.value)) == found
    assert found.pointer == pointer


def test_a_pointer_stops_where_the_decoder_does_not_say_more() -> None:
    assert Misfit(("more", "...", "x"), "no", None).pointer == "/more"


def test_a_pointer_is_escaped_as_rfc_6901_says() -> None:
    assert json_pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"
