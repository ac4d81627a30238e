"""Versions are ordered as Semantic Versioning says, and ranges are comparisons of them."""

from itertools import pairwise

import pytest

from tekton.a2a.versions import InvalidVersionError, Version, VersionRange

IN_ORDER = [
    "0.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2",
    "1.10",
    "2",
]
"""The example of section 11, with some more around it."""


def test_the_order_is_that_of_semantic_versioning() -> None:
    versions = [Version.parse(text) for text in IN_ORDER]

    assert all(first < second for first, second in pairwise(versions))


def test_zeros_may_be_left_out_and_builds_count_for_nothing() -> None:
    assert Version.parse("1") == Version.parse("1.0") == Version.parse("1.0.0+build.7")


@pytest.mark.parametrize(
    "text", ["", "v1", "1.", "01.0", "1.2.3.4", "1.0.0-", "1.0.0-01", "1.0.0-a..b", " 1", "1\n", "٣", "1" * 300]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersionError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("text", "version", "holds"),
    [
        (">=1.2, <2", "1.2.0", True),
        (">=1.2,<2", "1.10", True),
        (">=1.2, <2", "2.0.0", False),
        (">=1.2, <2", "1.1.9", False),
        ("<2", "2.0.0-rc.1", True),
        ("1.4", "1.4.0", True),
        ("==1.4", "1.4.1", False),
        ("!=1.4", "1.4.1", True),
        ("> 1, <= 1.5", "1.5", True),
    ],
)
def test_a_range_holds_where_all_of_its_comparisons_do(text: str, version: str, holds: bool) -> None:
    assert (Version.parse(version) in VersionRange(text)) is holds


@pytest.mark.parametrize("text", ["", ">=", "~1.2", "1,,2", ">=1 <2", ",".join(["1"] * 200)])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersionError):
        VersionRange(text)
