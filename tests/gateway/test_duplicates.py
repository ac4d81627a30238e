"""Keys that stand twice in one object."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.gateway.duplicates import repeated_key


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{}", None),
        (b"[1,2]", None),
        (b'"a"', None),
        (b'{"a":1,"b":2}', None),
        (b'{"a":1,"b":{"a":2}}', None),
        (b'[{"a":1},{"a":2}]', None),
        (b'{"a":"b","b":"a"}', None),
        (b'{"a":":","b":"a\\":1,\\"a"}', None),
        (b'{"a":1,"a":2}', "/a"),
        (b'{"a" :1,"a"\n:1}', "/a"),
        (b'{"a":1,"\\u0061":2}', "/a"),
        (b'{"x":[0,{"k/~":1,"k/~":2}]}', "/x/1/k~1~0"),
        (b'{"":1,"":2}', "/"),
        (b'{"a":{"b":1},"a":{"c":1}}', "/a"),
    ],
)
def test_the_key_is_found(body: bytes, pointer: str | None) -> None:
    assert repeated_key(body) == pointer


_values = st.recursive(
    st.none() | st.integers() | st.text('a"\\:{},/\u00e4', max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab":\\', max_size=2), inner, max_size=4),
    max_leaves=20,
)


@given(_values, st.sampled_from(["a", "\\", '":"', "\u00e4"]))
def test_whatever_stands_around_it(value: object, key: str) -> None:
    once = json.dumps(value).encode()
    name = json.dumps(key).encode()

    assert repeated_key(once) is None
    assert repeated_key(b"[" + once + b",{" + name + b":" + once + b"," + name + b":1}]") is not None
