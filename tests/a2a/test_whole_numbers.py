"""Whole numbers that a client has made floating."""

from tekton.a2a.whole_numbers import with_integers


def test_what_is_whole_is_an_integer_wherever_it_stands() -> None:
    found = with_integers({"a": 3.0, "b": [-1.0, {"c": 0.0}]})

    assert repr(found) == "{'a': 3, 'b': [-1, {'c': 0}]}"


def test_all_else_is_as_it_was() -> None:
    value = [1.5, float(2**60), True, None, "3.0", 7]

    assert repr(with_integers(value)) == repr(value)
