"""What a message can carry goes in and comes out as what it was."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.mcp.modality import (
    CodeContent,
    Content,
    ImageContent,
    Reference,
    StructuredContent,
    TextContent,
    parse_content,
)
from tekton.mcp.modality.content import MAX_TEXT
from tekton.mcp.modality.image import MAX_INLINE
from tekton.utils.tekton_errors import InvalidContentError

PNG = b"\x89PNG\r\n\x1a\n"
HASH = hashlib.sha256(PNG).hexdigest()
REFERRED: dict[str, Any] = {"uri": "https://host/a.png", "size": 8, "sha256": HASH}
REFERENCE: dict[str, Any] = {**REFERRED, "media_type": "image/png"}

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(texts, inner)
        | st.fixed_dictionaries({"modality": inner | st.sampled_from(["text", "image", "structured"])})
    ),
    max_leaves=10,
)
MEDIA_TYPES: dict[Callable[[Reference], Content], str] = {
    lambda reference: TextContent(media_type="text/html", reference=reference): "text/html",
    lambda reference: CodeContent(language="c", reference=reference): "text/x-c",
    lambda reference: StructuredContent(reference=reference): "application/json",
}
contents = st.one_of(
    st.builds(TextContent, texts, st.sampled_from(["text/plain", "text/markdown", "text/x.y+z"])),
    st.builds(CodeContent, texts, st.from_regex(r"[a-z0-9][a-z0-9+#._-]{0,63}", fullmatch=True)),
    st.builds(lambda rest: ImageContent("image/png", PNG + rest), st.binary()),
    st.builds(ImageContent, st.just("image/x-raw"), st.binary()),
    st.builds(
        lambda data, host: ImageContent(
            "image/png", reference=Reference.of(data, f"https://{host}/a.png", "image/png")
        ),
        st.binary(),
        st.from_regex(r"[a-z]{1,20}", fullmatch=True),
    ),
    st.builds(StructuredContent, json_values, st.none() | st.dictionaries(texts, json_values)),
    st.builds(
        lambda data, kind: kind(Reference.of(data, "https://host/a", MEDIA_TYPES[kind])),
        st.binary(),
        st.sampled_from(list(MEDIA_TYPES)),
    ),
)


def sent(content: Content) -> Any:
    """The content of a message that has brought it."""
    message = Message(MessageType.RESPONSE, content.to_content(), MessageContext("ada"))
    return Message.from_json(message.to_json()).content


@given(content=contents)
def test_a_message_brings_what_was_put_in(content: Content) -> None:
    assert parse_content(content.to_content()) == content
    if not isinstance(content, StructuredContent):
        assert type(parse_content(sent(content))) is type(content)
    assert parse_content(sent(content)) == content


@given(value=json_values)
def test_any_json_is_content_or_refused(value: Any) -> None:
    try:
        parsed = parse_content(value)
    except InvalidContentError:
        return

    assert parse_content(parsed.to_content()) == parsed


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (TextContent("hello"), "hello"),
        (
            TextContent("# hello", "text/markdown"),
            {"modality": "text", "text": "# hello", "media_type": "text/markdown"},
        ),
        (CodeContent("x = 1", "python"), {"modality": "code", "code": "x = 1", "language": "python"}),
        (
            ImageContent("image/png", PNG),
            {"modality": "image", "media_type": "image/png", "data": "iVBORw0KGgo="},
        ),
        (
            ImageContent("image/png", reference=Reference(**REFERENCE)),  # type: ignore[arg-type]
            {"modality": "image", "media_type": "image/png", "reference": REFERENCE},
        ),
        (
            TextContent(reference=Reference(**REFERRED, media_type="text/plain")),
            {"modality": "text", "reference": {**REFERRED, "media_type": "text/plain"}},
        ),
        (
            TextContent(media_type="text/html", reference=Reference(**REFERRED, media_type="text/html")),
            {"modality": "text", "media_type": "text/html", "reference": {**REFERRED, "media_type": "text/html"}},
        ),
        (
            CodeContent(language="python", reference=Reference(**REFERRED, media_type="text/x-python")),
            {"modality": "code", "language": "python", "reference": {**REFERRED, "media_type": "text/x-python"}},
        ),
        (
            StructuredContent(schema={}, reference=Reference(**REFERRED, media_type="application/geo+json")),
            {
                "modality": "structured",
                "schema": {},
                "reference": {**REFERRED, "media_type": "application/geo+json"},
            },
        ),
        (TextContent("", "text/html"), {"modality": "text", "text": "", "media_type": "text/html"}),
        (StructuredContent({"a": 1}), {"a": 1}),
        (StructuredContent([1, 2]), [1, 2]),
        (StructuredContent("a text"), {"modality": "structured", "data": "a text"}),
        (StructuredContent(None), {"modality": "structured", "data": None}),
        (StructuredContent({"modality": "code"}), {"modality": "structured", "data": {"modality": "code"}}),
        (StructuredContent([], {"type": "array"}), {"modality": "structured", "data": [], "schema": {"type": "array"}}),
    ],
)
def test_what_is_in_the_message(content: Content, wire: Any) -> None:
    assert content.to_content() == wire
    assert parse_content(wire) == content


@pytest.mark.parametrize("value", [5, 1.5, True, None, [], {}])
def test_all_other_json_is_structured(value: Any) -> None:
    assert parse_content(value) == StructuredContent(value)


def test_content_is_what_it_is() -> None:
    content = CodeContent("x", "c")

    assert parse_content(content) is content


@pytest.mark.parametrize(
    ("content", "pointer", "problem"),
    [
        ({"modality": "video"}, "/modality", "Invalid value 'video'"),
        ({"modality": 1}, "/modality", "Expected str"),
        ({"modality": "text"}, "/text", "required and missing"),
        ({"modality": "text", "text": 5}, "/text", "Expected str .*got int"),
        ({"modality": "text", "text": "x", "more": 1}, "/more", "unknown field"),
        (
            {"modality": "text", "text": "x", "media_type": "image/png"},
            "/media_type",
            "expected a media type like text",
        ),
        ({"modality": "text", "text": "x", "media_type": "text/plain; charset=utf-8"}, "/media_type", "expected"),
        (
            {"modality": "text", "text": "x", "reference": {**REFERENCE, "media_type": "text/plain"}},
            "",
            "either text or a reference",
        ),
        ({"modality": "text", "reference": REFERENCE}, "/reference/media_type", "the text is text/plain"),
        ({"modality": "code", "code": "x"}, "/language", "expected a name like"),
        ({"modality": "code", "language": "c"}, "/code", "required and missing"),
        ({"modality": "structured", "reference": REFERENCE}, "/reference/media_type", "image/png is not JSON"),
        ({"modality": "structured", "data": None, "reference": REFERENCE}, "", "either data or a reference"),
        ({"modality": "code", "code": "x", "language": "Pascal Case"}, "/language", "expected a name like"),
        ({"modality": "code", "code": "x", "language": ""}, "/language", "expected a name like"),
        ({"modality": "image", "media_type": "image/png"}, "/data", "required and missing"),
        ({"modality": "image", "media_type": "text/html", "data": ""}, "/media_type", "like image/"),
        ({"modality": "image", "media_type": "IMAGE/PNG", "data": ""}, "/media_type", "like image/"),
        ({"modality": "image", "media_type": "image/", "data": ""}, "/media_type", "like image/"),
        ({"modality": "image", "media_type": "image/png", "data": "###"}, "/data", "base64"),
        (
            {"modality": "image", "media_type": "image/png", "data": "AAAA"},
            "/data",
            "do not begin as those of image/png",
        ),
        ({"modality": "image", "media_type": "image/png", "data": "", "reference": REFERENCE}, "", "either"),
        (
            {"modality": "image", "media_type": "image/gif", "reference": REFERENCE},
            "/reference/media_type",
            "the image is image/gif",
        ),
        ({"modality": "structured"}, "/data", "required and missing"),
        ({"modality": "structured", "data": 1, "schema": []}, "/schema", "Expected object"),
        ({"modality": "structured", "data": 1, "schema": {"title": "x" * 70_000}}, "/schema", "larger than"),
        (b"bytes", "", "a bytes is no content"),
        (object(), "", "a object is no content"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_refused(content: Any, pointer: str, problem: str) -> None:
    with pytest.raises(InvalidContentError, match=problem) as refused:
        parse_content(content)

    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("uri", "data:image/png;base64,iVBORw0KGgo=", "/reference/uri"),
        ("uri", "javascript:alert(1)", "/reference/uri"),
        ("uri", "file:///etc/passwd", "/reference/uri"),
        ("uri", "a.png", "/reference/uri"),
        ("uri", "https://host/a b", "/reference/uri"),
        ("uri", "https://host/a\nb", "/reference/uri"),
        ("uri", "https://" + "x" * 3000, "/reference/uri"),
        ("media_type", "png", "/reference/media_type"),
        ("size", -1, "/reference/size"),
        ("sha256", HASH.upper(), "/reference/sha256"),
        ("sha256", HASH[1:], "/reference/sha256"),
    ],
)
def test_a_reference_is_one_that_others_can_follow_and_check(field: str, value: Any, pointer: str) -> None:
    content = {"modality": "image", "media_type": "image/png", "reference": {**REFERENCE, field: value}}

    with pytest.raises(InvalidContentError) as refused:
        parse_content(content)

    assert refused.value.pointer == pointer


def test_a_reference_knows_its_bytes() -> None:
    reference = Reference.of(PNG, "tekton://engram/images/1", "image/png")

    assert (reference.size, reference.sha256) == (8, HASH)
    assert reference.matches(PNG)
    assert not reference.matches(PNG + b"x")
    assert not reference.matches(PNG[:-1] + b"x")


@pytest.mark.parametrize(
    ("make", "pointer"),
    [
        (lambda: ImageContent("image/x-raw", b"x" * (MAX_INLINE + 1)), "/data"),
        (lambda: ImageContent("image/x-raw", "text"), "/data"),  # type: ignore[arg-type]
        (lambda: TextContent("x" * (MAX_TEXT + 1)), "/text"),
        (lambda: TextContent("ä" * (MAX_TEXT // 2 + 1)), "/text"),
        (lambda: TextContent("\ud800"), "/text"),
        (lambda: TextContent(5), "/text"),  # type: ignore[arg-type]
        (lambda: CodeContent("x" * (MAX_TEXT + 1), "c"), "/code"),
        (lambda: CodeContent("x", 5), "/language"),  # type: ignore[arg-type]
        (lambda: StructuredContent(1, {"a": object()}), "/schema"),
    ],
)
def test_too_much_and_the_wrong_kind_are_refused_where_it_is_made(make: Any, pointer: str) -> None:
    with pytest.raises(InvalidContentError) as refused:
        make()

    assert refused.value.pointer == pointer


def test_as_much_as_is_allowed_is_allowed() -> None:
    image, text = ImageContent("image/x-raw", bytes(MAX_INLINE)), TextContent("ä" * (MAX_TEXT // 2))

    assert parse_content(sent(image)) == image
    assert parse_content(text.to_content()) == text


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/png", PNG),
        ("image/jpeg", b"\xff\xd8\xff\xe0"),
        ("image/gif", b"GIF89a"),
        ("image/webp", b"RIFF"),
        ("image/svg+xml", b"<"),
    ],
)
def test_images_begin_as_they_say(media_type: str, data: bytes) -> None:
    assert ImageContent(media_type, data).data == data


def test_structured_data_can_be_held_against_its_schema() -> None:
    schema = {"properties": {"a": {"type": "integer"}}}

    StructuredContent({"a": 1}, schema).check()
    StructuredContent({"a": "x"}).check()
    with pytest.raises(InvalidContentError) as refused:
        StructuredContent({"a": "x"}, schema).check()

    assert refused.value.pointer == "/data/a"
    with pytest.raises(InvalidContentError, match="not fetched"):
        StructuredContent(schema=schema, reference=Reference.of(b"{}", "https://host/a", "application/json")).check()
