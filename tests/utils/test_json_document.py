import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.utils.json_document import MAX_DEPTH, Node, child_pointer, parse

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def _problems(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(mistake) for mistake in parse(data, "f.json").mistakes]


@given(_JSON, st.sampled_from([None, 0, 2]), st.booleans())
def test_what_json_writes_is_read_as_json_reads_it(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    document = parse(text.encode("utf-8", "surrogatepass"), "f.json")

    assert document.mistakes == []
    assert document.root is not None
    assert document.root.plain() == json.loads(text)


@given(st.text(alphabet='{}[]",:\\truefalsn0123456789eE+-. \n\tu', max_size=40))
def test_the_same_texts_are_accepted_as_by_a_strict_parser(text: str) -> None:
    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        expected, valid = json.loads(text, parse_constant=refuse), True
    except ValueError:
        expected, valid = None, False
    document = parse(text.encode(), "f.json")

    if document.mistakes:
        # Only what is read leniently by the other one: duplicates, surrogates, numbers out of range.
        tolerated = ("duplicate key", "half of a surrogate", "out of range")
        assert not valid or any(word in str(document.mistakes[0]) for word in tolerated)
    else:
        assert valid
        assert document.root is not None
        assert document.root.plain() == expected


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    document = parse(data, "f.json")

    assert document.root is not None or document.mistakes


def test_values_know_their_line_column_and_pointer() -> None:
    document = parse(b'{\n  "a": [1,\n    {"b/c": "\xc3\xa4", "d": null}]\n}', "f.json")

    places = {}
    stack = [document.root]
    while stack:
        node = stack.pop()
        assert isinstance(node, Node)
        places[node.pointer] = (document.position(node.key_offset), document.position(node.offset))
        assert document.find(node.pointer) is node
        stack += (
            node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else []
        )
    assert places == {
        "": ((1, 1), (1, 1)),
        "/a": ((2, 3), (2, 8)),
        "/a/0": ((2, 9), (2, 9)),
        "/a/1": ((3, 5), (3, 5)),
        "/a/1/b~1c": ((3, 6), (3, 13)),
        "/a/1/d": ((3, 18), (3, 23)),
    }


def test_a_pointer_to_nothing_finds_nothing() -> None:
    document = parse(b'{"a": [1]}', "f.json")

    assert [document.find(pointer) for pointer in ("/b", "/a/1", "/a/x", "/a/0/c")] == [None] * 4
    assert child_pointer("/x", "a/b~") == "/x/a~1b~0"


def test_a_byte_order_mark_is_accepted_and_not_counted() -> None:
    document = parse(b"\xef\xbb\xbf[1]", "f.json")

    assert document.root is not None
    assert document.root.plain() == [1]
    assert document.position(document.root.offset) == (1, 1)


def test_duplicate_keys_are_all_reported_and_parsing_goes_on() -> None:
    assert _problems('{"a": 1,\n "a": 2, "b": {"c": 1, "c": 2},\n "a": 3}') == [
        "f.json:2:2: duplicate key 'a' (first on line 1)",
        "f.json:2:24: duplicate key 'c' (first on line 2)",
        "f.json:3:2: duplicate key 'a' (first on line 1)",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: expected a value, found the end of the file"),
        ("{", "1:2: the file ends before the '{' of line 1, column 1 is closed"),
        ('{"a": [1,\n', "2:1: the file ends before the '[' of line 1, column 7 is closed"),
        ('{"a": [1\n', "2:1: the file ends before the '[' of line 1, column 7 is closed"),
        ('{"a": 1,}', "1:8: trailing comma before '}' (remove it)"),
        ("[1,\n2,\n]", "2:2: trailing comma before ']' (remove it)"),
        ('{"a": 1\n "b": 2}', "2:2: expected ',' or '}', found '\"' (a comma is missing before it)"),
        ("[1 2]", "1:4: expected ',' or ']', found '2'"),
        ("{a: 1}", "1:2: expected a key, found 'a' (keys are put in double quotes)"),
        ("{'a': 1}", '1:2: expected a key, found "\'" (keys are put in double quotes)'),
        ('{"a" 1}', "1:6: expected ':' after the key, found '1'"),
        ("[abc]", "1:2: expected a value, found 'abc' (put it in double quotes)"),
        ("['a']", '1:2: expected a value, found "\'" (put it in double quotes)'),
        ("[True]", "1:2: True is not JSON (write true)"),
        ("[None]", "1:2: None is not JSON (write null)"),
        ("[NaN]", "1:2: NaN is not a JSON number"),
        ("[-Infinity]", "1:2: -Infinity is not a JSON number"),
        ("[01]", "1:2: malformed number '01'"),
        ("[.5]", "1:2: malformed number '.5'"),
        ("[1.]", "1:2: malformed number '1.'"),
        ("[+1]", "1:2: malformed number '+1'"),
        ("[1e]", "1:2: malformed number '1e'"),
        ("[-]", "1:2: malformed number '-'"),
        ("[0x10]", "1:2: malformed number '0x10'"),
        ('{"a": 1} {', "1:10: expected the end of the file, found '{'"),
        ('{ // port\n"a": 1}', "1:3: JSON has no comments (remove it)"),
        ("/* x */ {}", "1:1: JSON has no comments (remove it)"),
        ('["a]', "1:2: the string is not closed on its line (add the missing '\"')"),
        ('["a\n"]', "1:2: the string is not closed on its line (add the missing '\"')"),
        ('["a\tb"]', "1:4: raw control character '\\t' in a string (write \\u0009)"),
        ('["C:\\dir"]', "1:5: unknown escape '\\\\d' (write '\\\\' for a backslash)"),
        ('["\\u12"]', "1:3: unknown escape '\\\\u' (write '\\\\' for a backslash)"),
        ("[\u00a01]", "1:2: expected a value, found '\\xa0'"),
    ],
)
def test_a_syntax_error_is_explained_where_it_is(text: str, problem: str) -> None:
    assert _problems(text) == [f"f.json:{problem}"]


@pytest.mark.parametrize("text", ["[1e400]", "[-1e400]", f"[{2**64}]", f"[{-(2**63) - 1}]", "[" + "9" * 10_000 + "]"])
def test_a_number_out_of_range_is_reported_and_parsing_goes_on(text: str) -> None:
    document = parse(text.encode(), "f.json")

    assert [str(mistake) for mistake in document.mistakes] == ["f.json:1:2: the number is out of range"]
    assert document.root is not None


def test_half_of_a_surrogate_pair_is_reported() -> None:
    assert "half of a surrogate pair" in _problems('["\\ud800"]')[0]
    assert _problems('["\\ud83d\\ude00"]') == []


def test_text_that_is_not_utf8_is_reported_with_its_place() -> None:
    assert _problems(b'{"a":\n "\xc3\xa4\xff"}') == ["f.json:2:4: the file is not UTF-8 text"]


def test_nesting_is_limited() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    assert _problems(nested(MAX_DEPTH)) == []
    assert _problems(nested(MAX_DEPTH + 1)) == [f"f.json:1:{MAX_DEPTH + 1}: nested deeper than 64 levels"]
    assert len(_problems("[" * 5_000_000)) == 1


def test_floats_and_integers_stay_what_they_are() -> None:
    document = parse(b"[1, 1.0, 1e2, -0, -0.0]", "f.json")

    assert document.root is not None
    values = document.root.plain()
    assert [type(value) for value in values] == [int, float, float, int, float]
    assert math.copysign(1, values[4]) == -1
