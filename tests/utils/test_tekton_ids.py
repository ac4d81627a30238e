import pytest

from tekton.core import lifecycle
from tekton.utils.tekton_errors import InvalidIdError
from tekton.utils.tekton_ids import check_id, did_you_mean, nearest_id, nearest_name


@pytest.mark.parametrize("value", ["a", "7", "hermes", "my-app_2", "a" * 128])
def test_a_valid_id_is_returned_unchanged(value: str) -> None:
    assert check_id(value) == value


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("", None),
        ("---", None),
        ("Hermes", "hermes"),
        ("my app", "my-app"),
        ("-a-", "a"),
        ("a" * 129, "a" * 128),
        ("tekton.core", "tekton-core"),
        ("a\n", "a"),
        ("ünicode", "nicode"),
    ],
)
def test_an_invalid_id_is_refused_with_the_nearest_valid_one(value: str, nearest: str | None) -> None:
    with pytest.raises(InvalidIdError) as caught:
        check_id(value, "/name")

    assert (caught.value.field, caught.value.value, caught.value.nearest) == ("/name", value, nearest)


@pytest.mark.parametrize("value", ["text_generation", "memory.store.read"])
def test_a_capability_may_have_dots_between_valid_parts(value: str) -> None:
    assert check_id(value, dots=True) == value


@pytest.mark.parametrize(
    ("value", "nearest"), [("memory..read", "memory.read"), (".a", "a"), ("A.B", "a.b"), ("a.\n", "a")]
)
def test_a_dotted_id_is_repaired_part_by_part(value: str, nearest: str) -> None:
    with pytest.raises(InvalidIdError) as caught:
        check_id(value, dots=True)

    assert caught.value.nearest == nearest


def test_the_lifecycle_module_has_the_same_functions() -> None:
    assert lifecycle.check_id is check_id
    assert lifecycle.nearest_id is nearest_id


def test_the_nearest_name_is_found_and_a_far_one_is_not() -> None:
    assert nearest_name("hermse", ["engram", "hermes"]) == "hermes"
    assert did_you_mean("hermse", ["engram", "hermes"]) == "did you mean 'hermes'?"
    assert did_you_mean("zebra", ["engram", "hermes"]) is None
