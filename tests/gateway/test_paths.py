"""Which paths a mounted application may see."""

import pytest

from tekton.gateway.errors import MalformedRequestError
from tekton.gateway.paths import check_canonical


@pytest.mark.parametrize(
    "path",
    ["/", "/a/b", "/a/", "/a/b.c", "/a/.b", "/a/..b", "/a/b..", "/a;x=1/b", "/100%", "/a b", "/ä", "/~x", "/%zz"],
)
def test_a_path_that_means_one_thing_is_canonical(path: str) -> None:
    check_canonical(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "a",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/a/..;x/b",
        "/a/.;/b",
        "/a\\b",
        "/a/..\\b",
        "/a%2fb",
        "/a%2e%2e/b",
        "/%00",
        "/a%41",
        "/a\0b",
        "/a\nb",
        "/a\x7f",
        "/a\ufffd",
    ],
)
def test_a_path_that_somebody_could_take_for_another_is_not(path: str) -> None:
    with pytest.raises(MalformedRequestError):
        check_canonical(path)
