"""Parts, and what they are here."""

from typing import Any

import pytest

from tekton.mcp.modality.image import ImageContent
from tekton.mcp.modality.reference import Reference
from tekton.mcp.modality.text import TextContent
from tekton.service.edge.a2a.parts import answer_of, inputs_of, parts_of, parts_said, said, takes
from tekton.service.edge.a2a.wire import Part

PNG = b"\x89PNG\r\n\x1a\n"
ELSEWHERE = Reference.of(PNG, "https://example.org/a.png", "image/png")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("hello", Part(text="hello", media_type="text/plain")),
        (TextContent("*a*", "text/markdown").to_content(), Part(text="*a*", media_type="text/markdown")),
        (
            {"modality": "code", "language": "c++", "code": ";"},
            Part(text=";", media_type="text/x-c++", metadata={"language": "c++"}),
        ),
        (ImageContent("image/png", data=PNG).to_content(), Part(raw=PNG, media_type="image/png")),
        (
            ImageContent("image/png", reference=ELSEWHERE).to_content(),
            Part(url="https://example.org/a.png", media_type="image/png"),
        ),
        ({"a": [1]}, Part(data={"a": [1]}, media_type="application/json")),
        (None, Part(data=None, media_type="application/json")),
        (
            {"filename": "a.bin", "media_type": "x/y", "data": "YWJj"},
            Part(raw=b"abc", filename="a.bin", media_type="x/y"),
        ),
        ({"url": "https://e.org/b", "filename": "b"}, Part(url="https://e.org/b", filename="b")),
        ({"url": "https://e.org/b"}, Part(data={"url": "https://e.org/b"}, media_type="application/json")),
        ({"filename": "a", "data": "?"}, Part(data={"filename": "a", "data": "?"}, media_type="application/json")),
        ({"filename": "a", "data": 1}, Part(data={"filename": "a", "data": 1}, media_type="application/json")),
        ({"modality": "smell"}, Part(data={"modality": "smell"}, media_type="application/json")),
    ],
    ids=str,
)
def test_content_is_a_part_of_its_kind(content: Any, part: Part) -> None:
    assert parts_of(content) == [part]


def test_json_is_a_text_for_who_takes_only_texts() -> None:
    assert parts_of({"a": 1}, ["text/plain"]) == [Part(text='{"a":1}', media_type="text/plain")]
    assert parts_of({"a": 1}, ["text/plain", "application/*"])[0].data == {"a": 1}
    assert parts_of({"a": 1}, ["image/png"])[0].data == {"a": 1}


def test_inputs_are_objects_texts_and_files() -> None:
    parts = [
        Part(text="one"),
        Part(data={"language": "python"}),
        Part(text="two"),
        Part(raw=b"abc", filename="a.bin", media_type="x/y"),
        Part(url="https://example.org/b"),
        Part(data=[1]),
    ]

    assert inputs_of(parts) == {
        "text": "one\ntwo",
        "language": "python",
        "files": [
            {"filename": "a.bin", "media_type": "x/y", "data": "YWJj"},
            {"url": "https://example.org/b"},
        ],
        "data": [1],
    }
    assert inputs_of([Part(text="x"), Part(data={"text": "y"})]) == {"text": "y"}
    assert inputs_of([Part(text="x")], "code") == {"code": "x"}
    assert inputs_of([Part(data=1), Part(data=2)]) == {"data": [1, 2]}


def test_an_answer_is_what_its_only_part_says_or_else_inputs() -> None:
    assert answer_of([Part(text="yes")]) == "yes"
    assert answer_of([Part(data=None)]) is None
    assert answer_of([Part(data={"a": 1}), Part(text="b")]) == {"a": 1, "text": "b"}


@pytest.mark.parametrize(
    "parts",
    [
        [Part(text="hello", media_type="text/plain")],
        [Part(text="*a*", media_type="text/markdown")],
        [Part(text="a"), Part(data={"b": None}), Part(raw=PNG, filename="a.png", metadata={"c": 1})],
    ],
    ids=len,
)
def test_what_was_said_is_told_again_as_it_was(parts: list[Part]) -> None:
    assert parts_said(said(parts)) == parts


def test_plain_text_is_kept_as_a_text() -> None:
    assert said([Part(text="hello")]) == "hello"


def test_modes_may_have_stars() -> None:
    assert takes([], "a/b")
    assert takes(["text/*"], "text/x-python; charset=utf-8")
    assert takes(["*/*"], "a/b")
    assert not takes(["text/plain"], "text/html")
