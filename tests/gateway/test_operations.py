"""The id of an operation that nobody can read, for the answer that says so."""

import pytest

from tekton.gateway.errors import MalformedRequestError
from tekton.gateway.operations import number_of, read_operation

PUB = '{"op":"pub","id":5,"subject":"a.b","message":%s}'
LAST = '{"op":"pub","subject":"a.b","message":%s,"id":5}'


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (PUB % r'{"content":"\ud800"}', 5),
        (LAST % r'{"content":"\ud800"}', 5),
        (LAST % r'{"content":"\uDFff and \\ud800 and \ud83d\ude00"}', 5),
        (PUB % '{"content":"', 5),
        (PUB % ("[" * 2000 + "]" * 2000), 5),
        (PUB % "{x}", 5),
        ('{"op": "pub", "subject": "a", "id" : 0 , "message": ', 0),
        ('{"op":"pub","id":9007199254740992,"message":', 2**53),
        ('{"op":"pub","id":9007199254740993,"message":', None),
        ('{"op":"pub","id":5.5,"message":', None),
        ('{"op":"pub","id":-5,"message":', None),
        ('{"op":"pub","message":{"id":7,"content":"', None),
        (LAST % '{"content":"', None),
        ("", None),
        ('"id":5,', None),
    ],
)
def test_the_id_is_found_where_it_can_be_read(text: str, number: int | None) -> None:
    with pytest.raises(MalformedRequestError):
        read_operation(text.encode())

    assert number_of(text.encode()) == number


def test_of_what_does_not_fit_the_id_is_found_too() -> None:
    assert number_of(b'{"op":"shout","id":5}') == 5
    assert number_of(b"5") is None
