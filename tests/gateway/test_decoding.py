"""From bytes to types, and from what is wrong with them to where and why."""

from contextlib import suppress
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.gateway.decoding import MAX_DEPTH, decode_body, decode_query
from tekton.gateway.errors import InvalidInputError, InvalidParameterError, MalformedRequestError


class Address(msgspec.Struct, forbid_unknown_fields=True):
    street: str
    number: int = 1


class Person(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    tags: list[str] = []
    address: Address | None = None
    addresses: list[Address] = []
    by_city: dict[str, Address] = {}
    weight: float = 0.0
    age: Annotated[int, msgspec.Meta(ge=0)] = 0
    extra: Any = None


class Tree(msgspec.Struct):
    children: "list[Tree]" = []


class Flat(msgspec.Struct, forbid_unknown_fields=True):
    numbers: list[float] = []


DECODER: msgspec.json.Decoder[Person] = msgspec.json.Decoder(Person)


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"", 0),
        (b"{", 1),
        (b'{"name":"a",}', 12),
        (b'{"name":"a"} x', 13),
        (b"nul", 3),
        (b"\xef\xbb\xbf{}", 0),
        (b'{"name":"\xff"}', 9),
        (b'{"name":"a","weight":NaN}', 21),
        (b'{"name":"a","weight":Infinity}', 21),
        (b'{"name":"a","weight":1.}', 23),
        (b"{'name':1}", 1),
        (b'{"name":1', 9),
    ],
)
def test_malformed_json_is_reported_with_the_byte_offset(body: bytes, offset: int) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        decode_body(DECODER, body)

    assert caught.value.offset == offset


@pytest.mark.parametrize("body", [b'{"name":"\\ud800"}', b'{"name":"a","weight":}', b"[" * 1000, b'{"name":"a\x01"}'])
def test_malformed_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        decode_body(DECODER, body)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"[]", ""),
        (b"{}", "/name"),
        (b'{"name":1}', "/name"),
        (b'{"name":"a","tags":["b",2]}', "/tags/1"),
        (b'{"name":"a","address":{"street":5}}', "/address/street"),
        (b'{"name":"a","address":{}}', "/address/street"),
        (b'{"name":"a","addresses":[{"street":"b"},{"street":"c","number":"1"}]}', "/addresses/1/number"),
        (b'{"name":"a","by_city":{"x":{"street":1}}}', "/by_city"),
        (b'{"name":"a","weight":1e400}', "/weight"),
        (b'{"name":"a","age":-1}', "/age"),
        (b'{"name":"a","age":1.5}', "/age"),
        (b'{"name":"a","a/b~c":1}', "/a~1b~0c"),
        (b'{"name":"a","$.x`":1}', "/$.x`"),
    ],
)
def test_what_does_not_fit_is_reported_with_a_json_pointer(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_body(DECODER, body)

    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("body", "nearest"),
    [
        (b'{"nam":"a"}', "name"),
        (b'{"name":"a","address":{"stret":"b"}}', "street"),
        (b'{"name":"a","addresses":[{"numbr":1}]}', "number"),
        (b'{"name":"a","by_city":{"x":{"numbr":1}}}', "number"),
        (b'{"name":"a","zzzzz":1}', None),
    ],
)
def test_an_unknown_field_comes_with_the_nearest_known_one(body: bytes, nearest: str | None) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_body(DECODER, body)

    assert getattr(caught.value, "nearest", None) == nearest
    assert (nearest is None) == (caught.value.hint is None)


def test_a_document_that_does_not_fit_and_is_broken_too_is_malformed() -> None:
    with pytest.raises(MalformedRequestError):
        decode_body(DECODER, b'{"name":1,"tags":[}')


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (rb'{"extra":"\ud800"}', 10),
        (rb'{"extra":"a\ud800 b"}', 11),
        (rb'{"extra":"\ud83d\ude00 \\ud800 \uDBFF\n"}', 31),
        (rb'{"extra":["\ud800","\udc00"]}', 11),
    ],
)
def test_half_of_a_surrogate_pair_is_named_with_its_place(body: bytes, offset: int) -> None:
    with pytest.raises(MalformedRequestError, match="half of a surrogate pair") as caught:
        decode_body(DECODER, body)

    assert caught.value.offset == offset


def test_nesting_is_limited() -> None:
    deepest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)

    assert decode_body(DECODER, b'{"name":"a","extra":' + deepest + b"}").name == "a"
    with pytest.raises(MalformedRequestError, match="nested"):
        decode_body(DECODER, b'{"name":"a","extra":[' + deepest + b"]}")


def test_nesting_is_limited_by_the_type_where_it_can_be() -> None:
    trees = msgspec.json.Decoder(Tree)
    tree = b'{"children":[' * 40 + b"]}" * 40
    assert len(decode_body(trees, b'{"children":[' * 30 + b"]}" * 30).children) == 1
    with pytest.raises(MalformedRequestError, match="nested"):
        decode_body(trees, tree)
    with pytest.raises(MalformedRequestError, match="nested"):
        decode_body(msgspec.json.Decoder(Flat), b'{"numbers":' + b"[" * 5000)


def test_brackets_in_strings_and_beside_each_other_do_not_count_as_nesting() -> None:
    text = '[{"\\' * 100
    body = msgspec.json.encode({"name": text, "extra": [[1]] * 200})

    assert decode_body(DECODER, body).name == text


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"name":"a","extra":' + b"["])
def test_a_nesting_bomb_is_refused(opening: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        decode_body(DECODER, opening * 200_000)


def test_an_integer_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        decode_body(DECODER, b'{"name":"a","age":' + b"9" * 60_000 + b"}")


@given(st.binary(max_size=200))
def test_no_body_makes_anything_but_the_two_refusals(body: bytes) -> None:
    with suppress(MalformedRequestError, InvalidInputError):
        decode_body(DECODER, body)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda leaf: st.lists(leaf) | st.dictionaries(
    st.sampled_from(["name", "tags", "address", "street", "by_city", "nam"]) | st.text(), leaf)))  # fmt: skip
def test_no_json_makes_anything_but_a_refusal_with_a_pointer(document: Any) -> None:
    pointer = ""
    try:
        decode_body(DECODER, msgspec.json.encode(document))
    except InvalidInputError as error:
        pointer = error.pointer

    assert not pointer or pointer.startswith("/")


class Query(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    state: str | None = None
    wait: bool = False


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    since: float | None = None
    before: int | None = None


@pytest.mark.parametrize(
    "query", ["since=null", "before=NULL", "since=nan", "since=inf", "since=-inf", "name=a&since=Null"]
)
def test_a_word_that_stands_for_no_value_does_not_widen_a_filter(query: str) -> None:
    with pytest.raises(InvalidParameterError) as raised:
        decode_query(Filter, query)

    assert raised.value.parameter in ("since", "before")


def test_a_text_may_be_any_word() -> None:
    assert decode_query(Filter, "name=null") == Filter(name="null")


def test_a_query_is_converted_from_text() -> None:
    assert decode_query(Query, "limit=5&state=a+b%20c&wait=1") == Query(5, "a b c", True)
    assert decode_query(Query, "") == Query()
    assert decode_query(Query, "state=") == Query(state="")
    assert decode_query(None, "") is None


@pytest.mark.parametrize(
    ("query", "parameter", "nearest"),
    [
        ("limit=x", "limit", None),
        ("limit=", "limit", None),
        ("limit=0", "limit", None),
        ("wait=perhaps", "wait", None),
        ("lmit=1", "lmit", "limit"),
        ("limit=1&limit=2", "limit", None),
        ("other=1", "other", None),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(query: str, parameter: str, nearest: str | None) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        decode_query(Query, query)

    assert caught.value.parameter == parameter
    assert getattr(caught.value, "nearest", None) == nearest


def test_a_route_without_parameters_takes_none() -> None:
    with pytest.raises(InvalidParameterError):
        decode_query(None, "a=1")


@pytest.mark.parametrize("query", ["state=%ff", "&".join(f"a{number}=1" for number in range(100))])
def test_a_query_that_cannot_be_read_is_malformed(query: str) -> None:
    with pytest.raises(MalformedRequestError):
        decode_query(Query, query)
