import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.utils.protobuf_wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Reader,
    TooManyFieldsError,
    WireError,
    field,
    signed,
    varint,
)


def read(data: bytes) -> list[tuple[int, int, int, int]]:
    return list(Reader(data, 1000).fields(0, len(data)))


def test_a_field_is_its_number_its_kind_and_what_it_holds() -> None:
    data = b"\x08\x96\x01\x12\x03abc\x19" + bytes(range(8)) + b"\x25\x01\x00\x00\x00"

    assert read(data) == [
        (1, VARINT, 150, 0),
        (2, LENGTH, 5, 8),
        (3, FIXED64, int.from_bytes(bytes(range(8)), "little"), 0),
        (4, FIXED32, 1, 0),
    ]


def test_only_the_part_that_is_asked_for_is_read() -> None:
    assert list(Reader(b"\xff\x08\x01\xff", 9).fields(1, 3)) == [(1, VARINT, 1, 0)]


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_read_as_it_was_written(value: int) -> None:
    assert read(b"\x08" + varint(value)) == [(1, VARINT, value, 0)]


@given(st.integers(1, 2**29 - 1), st.binary(max_size=300))
def test_a_content_is_read_as_it_was_written(number: int, content: bytes) -> None:
    data = field(number, content)

    [(found, kind, start, stop)] = read(data)

    assert (found, kind, data[start:stop]) == (number, LENGTH, content)


def test_negative_numbers_are_the_upper_half() -> None:
    assert signed(2**64 - 1) == -1
    assert signed(2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize("data", [b"\x08\x01" * 4, b"\x08\x01\x0b\x10\x01\x0c"])
def test_after_so_many_fields_it_goes_no_further(data: bytes) -> None:
    assert len(list(Reader(data, 4).fields(0, len(data)))) <= 4
    with pytest.raises(TooManyFieldsError):
        list(Reader(data, 3).fields(0, len(data)))


def test_a_group_is_passed_over() -> None:
    # group 1 { field 2 = "x"; group 3 {}; field 4 = 5; field 5, 8 bytes; field 6, 4 bytes }, field 7 = 1
    group = b"\x0b" + b"\x12\x01x" + b"\x1b\x1c" + b"\x20\x05" + b"\x29" + bytes(8) + b"\x35" + bytes(4) + b"\x0c"

    assert read(group + b"\x38\x01") == [(7, VARINT, 1, 0)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x80",
        b"\x08\x80",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x12\x05abc",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x19\x01",
        b"\x25\x01",
        b"\x00\x01",
        b"\x0e\x01",
        b"\x0f\x01",
        b"\x80\x80\x80\x80\x80\x01\x01",
        b"\x0c",
        b"\x0b",
        b"\x0b\x14",
        b"\x0b\x12\x05",
        b"\x0b\x00",
        b"\x0b\x29\x01",
        b"\x0b\x0f\x0c",
        b"\x0b" * 200,
        b"\x0b" * 100_000 + b"\x0c" * 100_000,
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_they_are_a_message_or_refused(data: bytes) -> None:
    try:
        found = read(data)
    except WireError:
        return
    assert all(0 <= a <= b <= len(data) for _, kind, a, b in found if kind == LENGTH)
