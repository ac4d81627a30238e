"""Patterns say what those of the standard library say, and none takes long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.utils.line_pattern import PatternError, compile_pattern

ATOMS = st.sampled_from(["a", "b", "A", " ", ".", r"\d", r"\W", "[ab]", "[^a]", "[a-c0-9]", r"\.", "é", r"[\s\-]", "{"])
PLACES = st.sampled_from(["^", "$", r"\b", r"\B"])
TIMES = st.sampled_from(["", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds(
        lambda parts, times: f"({'|'.join(parts)}){times}", st.lists(inner, min_size=1, max_size=3), TIMES
    )
    return st.lists(group | inner, max_size=3).map("".join)


PATTERNS = st.recursive(st.builds(str.__add__, ATOMS, TIMES) | PLACES, grown, max_leaves=8)


@given(PATTERNS, st.lists(st.text("aabbAB1.é -_{", min_size=1, max_size=10), max_size=5), st.booleans())
def test_it_finds_what_the_standard_library_finds(pattern: str, texts: list[str], ignore_case: bool) -> None:
    found = compile_pattern(pattern, ignore_case=ignore_case)
    expected = re.compile(pattern, re.IGNORECASE if ignore_case else 0)

    assert [found(text) for text in texts] == [expected.search(text) is not None for text in texts]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*c", ".*.*.*x", "(x+x+)+y", "(a?){150}a{150}c"])
def test_patterns_that_would_hang_the_standard_library_say_at_once_what_there_is(pattern: str) -> None:
    assert not compile_pattern(pattern)("a" * 5000 + "b")


def test_only_the_beginning_of_an_endless_line_is_looked_at() -> None:
    found = compile_pattern("(end|stop)$")

    assert not found("x" * 100_000 + "end")
    assert not compile_pattern("end")("x" * 100_000 + "end")


def test_lines_of_all_kinds_of_characters_do_not_fill_the_memory() -> None:
    found = compile_pattern("[^x]*x.?y")

    for start in range(0x100, 0x20000, 0x1000):
        assert not found("".join(map(chr, range(start, start + 0x1000))))

    automaton = found.__closure__[1].cell_contents.__self__ if found.__closure__ else None
    assert sum(map(len, automaton._steps.values())) <= 21_000


@pytest.mark.parametrize(
    ("pattern", "problem", "position"),
    [
        ("a(b", "a ( without a )", 3),
        ("a)b", "a ) without a (", 1),
        ("[ab", "a [ without a ]", 3),
        ("*a", "nothing to repeat", 0),
        ("a**", "what is repeated already is repeated again", 2),
        ("a\\", "a \\ at the end", 2),
        (r"(a)\1", r"\1 is not understood", 4),
        ("(?=a)", "of the groups with (? only (?: is understood", 2),
        ("[z-a]", "from z to a there is nothing", 3),
        ("a{3,2}", "from 3 to 2 times: at most 200, and not less than at least", 6),
        ("a{999}", "from 999 to 999 times: at most 200, and not less than at least", 6),
        ("((((a{99}){99}){99}){99})", "the pattern is too large", 0),
        ("(" * 50, "too many parentheses inside one another", 21),
        ("^*", "a place cannot be repeated", 2),
    ],
)
def test_a_mistake_is_told_with_its_place(pattern: str, problem: str, position: int) -> None:
    with pytest.raises(PatternError) as raised:
        compile_pattern(pattern)

    assert (raised.value.problem, raised.value.position) == (problem, position)
