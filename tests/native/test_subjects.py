"""Subjects and patterns against their definition, and the table against a plain set of pairs."""

import sys
import unicodedata
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tekton._native import SubjectTable, covers, is_valid_pattern, is_valid_subject, overlaps

SUBJECTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from("ab*"), min_size=1, max_size=3),
    st.sampled_from([(), (), (">",)]),
) | st.just(">")
LISTENERS = st.integers(0, 3) | st.just(2**64 - 1)


def matches(pattern: str, subject: str) -> bool:
    """The definition, token by token."""
    steps, tokens = pattern.split("."), subject.split(".")
    if steps[-1] == ">":
        if len(tokens) < len(steps):
            return False
        steps, tokens = steps[:-1], tokens[: len(steps) - 1]
    return len(steps) == len(tokens) and all(step in ("*", token) for step, token in zip(steps, tokens))


def allowed(text: str) -> bool:
    """The rules for a pattern, one after another."""
    if any(0xD800 <= ord(character) < 0xE000 for character in text) or len(text.encode()) > 255:
        return False
    tokens = text.split(".")
    return (
        len(tokens) <= 16
        and all(tokens)
        and not any(unicodedata.category(character) in ("Cc", "Zs", "Zl", "Zp") for character in text)
        and all(token in ("*", ">") or not set(token) & set("*>") for token in tokens)
        and ">" not in tokens[:-1]
    )


class TableMachine(RuleBasedStateMachine):
    """Every operation on a table and on a set of pairs, compared."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SubjectTable()
        self.pairs: set[tuple[str, int]] = set()

    @initialize(size=st.integers(0, 60) | st.just(65536))
    def begin(self, size: int) -> None:
        self.table = SubjectTable(cache_size=size)

    @rule(pattern=PATTERNS, listener=LISTENERS)
    def add(self, pattern: str, listener: int) -> None:
        assert self.table.add(pattern, listener) is ((pattern, listener) not in self.pairs)
        self.pairs.add((pattern, listener))

    @rule(pattern=PATTERNS, listener=LISTENERS)
    def remove(self, pattern: str, listener: int) -> None:
        assert self.table.remove(pattern, listener) is ((pattern, listener) in self.pairs)
        self.pairs.discard((pattern, listener))

    @rule(subject=SUBJECTS)
    def match(self, subject: str) -> None:
        found = self.table.match(subject)
        assert found == tuple(sorted({listener for pattern, listener in self.pairs if matches(pattern, subject)}))

    @invariant()
    def the_length_is_the_number_of_pairs(self) -> None:
        assert len(self.table) == len(self.pairs)


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(
    st.text(st.sampled_from("ab.*> \t\n\r\0\x7f\x85é\u2028\ud800"), max_size=12)
    | st.text(max_size=130)
    | st.integers(0, 20).map(lambda dots: "a" + ".a" * dots)
)
@settings(max_examples=150, deadline=None)
def test_what_is_valid_follows_the_rules(text: str) -> None:
    assert is_valid_pattern(text) is allowed(text)
    assert is_valid_subject(text) is (allowed(text) and not set(text) & set("*>"))


@given(PATTERNS, PATTERNS)
@settings(max_examples=300, deadline=None)
def test_what_covers_what_follows_from_the_subjects(mine: str, theirs: str) -> None:
    subjects = [".".join(tokens) for length in range(1, 6) for tokens in product("abx", repeat=length)]
    by_mine, by_theirs = ({subject for subject in subjects if matches(each, subject)} for each in (mine, theirs))

    assert covers(mine, theirs) is (by_theirs <= by_mine)
    assert overlaps(mine, theirs) is bool(by_mine & by_theirs)


@pytest.mark.parametrize(
    ("grant", "wanted", "enough"),
    [
        ("a.>", "a.*.b", True),
        ("a.>", "a.b", True),
        ("a.>", "a", False),
        ("a.>", ">", False),
        ("a.*", "a.>", False),
        ("*.b", "a.b", True),
        ("a.b", "*.b", False),
        (">", "*.>", True),
        ("*.>", ">", False),
    ],
)
def test_a_permission_for_a_pattern_is_one_for_all_that_it_covers(grant: str, wanted: str, enough: bool) -> None:
    assert covers(grant, wanted) is enough


@pytest.mark.parametrize("case", ["Memory.updated", "memory.Updated"])
def test_case_counts(case: str) -> None:
    table = SubjectTable()
    table.add("memory.updated", 1)

    assert table.match(case) == ()


def test_texts_that_only_look_the_same_are_different_subjects() -> None:
    table = SubjectTable()
    table.add("caf\u00e9", 1)

    assert table.match("caf\u00e9") == (1,)
    assert table.match("cafe\u0301") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty token"),
        (".", "empty token"),
        ("a..b", "empty token"),
        ("a.", "empty token"),
        ("a b", "the character ' '"),
        ("a\0b", r"the character '\\0'"),
        ("a\r\nPUB b", "the character"),
        ("a.>.b", "must be the last token"),
        ("a.b*", "a token of its own"),
        (".".join("a" * 17), "more than 16 tokens"),
        ("é" * 128, "longer than 255 bytes"),
        (".".join(["a"] * 10_000), "longer than 255 bytes"),
        ("a" * 10_000_000, "longer than 255 bytes"),
        ("\ud800", "surrogates not allowed"),
    ],
    ids=lambda text: text[:12].encode("unicode_escape").decode(),
)
def test_what_is_no_pattern_is_refused_and_changes_nothing(text: str, reason: str) -> None:
    table = SubjectTable()

    for refused in (lambda: table.add(text, 1), lambda: table.remove(text, 1), lambda: table.match(text)):
        with pytest.raises(ValueError, match=reason) as refusal:
            refused()
        assert len(str(refusal.value)) < 1000
    for refused in (lambda: covers(text, "a"), lambda: overlaps("a", text)):
        with pytest.raises(ValueError, match=reason):
            refused()

    assert len(table) == 0


@pytest.mark.parametrize("text", ["*", "a.*", ">", "a.>"])
def test_a_pattern_is_nothing_to_publish_to(text: str) -> None:
    table = SubjectTable()
    table.add(text, 1)

    with pytest.raises(ValueError, match="wildcards are for patterns only"):
        table.match(text)
    assert not is_valid_subject(text)


@pytest.mark.parametrize("wrong", [None, 1, b"a", ["a"]])
def test_what_is_no_text_is_a_type_error(wrong: object) -> None:
    for function in (SubjectTable().match, is_valid_subject, is_valid_pattern):
        with pytest.raises(TypeError):
            function(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("listener", [-1, 2**64])
def test_a_listener_out_of_range_is_refused(listener: int) -> None:
    table = SubjectTable()

    with pytest.raises(OverflowError):
        table.add("a", listener)
    assert len(table) == 0


def test_an_answer_is_the_same_tuple_while_nothing_changes_it() -> None:
    table = SubjectTable()
    table.add("a.*", 1)
    answer = table.match("a.b")

    table.add("inbox.1", 2)
    table.add("a.c", 3)

    assert table.match("a.b") is answer
    assert answer == (1,)


def test_a_wildcard_leaves_most_answers_alone_that_begin_otherwise() -> None:
    table = SubjectTable()
    subjects = [f"{number}.a" for number in range(256)]
    table.add("*.a", 2)
    answers = [table.match(subject) for subject in subjects]

    table.add("inbox.>", 3)

    # First tokens share their generations by hash.
    assert sum(table.match(subject) is answer for subject, answer in zip(subjects, answers)) > 128


@pytest.mark.parametrize("pattern", ["a.b", "a.*", "a.>", "*.b", "*.*", ">"])
def test_an_answer_is_another_once_a_pattern_comes_or_goes(pattern: str) -> None:
    table = SubjectTable()
    assert table.match("a.b") == ()

    table.add(pattern, 1)
    assert table.match("a.b") == (1,)

    table.remove(pattern, 1)
    assert table.match("a.b") == ()


def test_a_hundred_thousand_patterns_are_found_and_leave_nothing_behind() -> None:
    table = SubjectTable()
    patterns = [
        f"component.{number // 10}.{'*' if number % 2 else 'log'}.{number % 10}{'.>' if number % 3 else ''}"
        for number in range(100_000)
    ]
    for number, pattern in enumerate(patterns):
        table.add(pattern, number)

    for number in range(0, 100_000, 997):
        subject = patterns[number].replace("*", "state").replace(">", "line.1")
        assert number in table.match(subject)

    assert all(table.remove(pattern, number) for number, pattern in enumerate(patterns))
    assert len(table) == 0
    assert table.match("component.1.log.1.line") == ()


def test_patterns_that_double_the_work_at_each_token_are_matched() -> None:
    table = SubjectTable(cache_size=0)
    for number, tokens in enumerate(product("a*", repeat=13)):
        table.add(".".join((*tokens, "x")), number)

    assert table.match(".".join("a" * 14)) == ()
    assert len(table.match(".".join("a" * 13) + ".x")) == 2**13


def test_subjects_that_nobody_asks_for_twice_fill_no_memory() -> None:
    table = SubjectTable(cache_size=808)
    for number in range(100):
        table.add("a.>", number)
    kept = [table.match(f"a.{number}") for number in range(1000)]

    references = [sys.getrefcount(answer) for answer in kept]

    # Only those that the cache has are referred to from elsewhere: 8, of 101 each.
    assert sum(count > min(references) for count in references) == 8
