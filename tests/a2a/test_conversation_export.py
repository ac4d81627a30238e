"""A conversation as Markdown, as JSON, and as a transcript."""

import hashlib
import json

import pytest

from tekton.a2a.conversation import Conversation
from tekton.a2a.conversation_export import plain_text, transcript
from tekton.a2a.message import AgentMessage
from tekton.mcp.modality import CodeContent, ImageContent, Reference, TextContent
from tekton.testing import ManualClock

PNG = b"\x89PNG\r\n\x1a\n"
REFERENCE = Reference("https://images.example/1.png", "image/png", 8, hashlib.sha256(PNG).hexdigest())


def conversation_of(*contents: object) -> Conversation:
    conversation = Conversation("c", "ada", ["bob"], clock=ManualClock())
    for content in contents:
        conversation.add_message(AgentMessage("ada", content, timestamp=1_700_000_000))
    return conversation


def markdown(*contents: object) -> str:
    """The Markdown of what ada says, without its head."""
    return "".join(conversation_of(*contents).export()).split("\n## ada, 2023-11-14T22:13:20Z\n\n", 1)[1]


def test_the_head_says_who_takes_part() -> None:
    assert "".join(conversation_of().export("markdown")) == (
        "# Conversation c\n\nBegun by ada, 2023-11-14T22:13:20Z. Participants: ada, bob.\n"
    )


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("one\n# two", "> one\n> # two\n"),
        ("", ">\n"),
        (CodeContent("print(1)", "python"), "> ```python\n> print(1)\n> ```\n"),
        (CodeContent("```\n````", "markdown"), "> `````markdown\n> ```\n> ````\n> `````\n"),
        (ImageContent("image/png", PNG), "> [image/png]\n"),
        (ImageContent("image/png", reference=REFERENCE), "> [image/png](https://images.example/1.png)\n"),
        ({"a": 1}, '> ```json\n> {\n>   "a": 1\n> }\n> ```\n'),
    ],
    ids=["text", "empty", "code", "fences", "image", "reference", "structured"],
)
def test_what_was_said_stays_in_its_place(content: object, wanted: str) -> None:
    assert markdown(content) == wanted


def test_a_time_that_is_none_does_not_hinder() -> None:
    conversation = conversation_of()
    conversation.add_message(AgentMessage("ada", "x", timestamp=1e300))

    assert "## ada, 1e+300 s" in "".join(conversation.export())


def test_as_json_all_of_it_is_there_and_messages_come_back() -> None:
    conversation = conversation_of("one", {"two": 2}, CodeContent("3", "python"))
    conversation.add_message(AgentMessage("bob", "four", {"a": 1}))

    exported = json.loads("".join(conversation.export("json")))

    again = [AgentMessage.from_json(json.dumps(message)) for message in exported.pop("messages")]
    assert again == conversation.get_history()
    assert exported == {
        "conversation_id": "c",
        "initiator": "ada",
        "participants": ["ada", "bob"],
        "created_at": 1_700_000_000.0,
        "changed_at": 1_700_000_000.0,
        "context": {"a": 1},
        "last": 4,
        "size_bytes": sum(message.size_bytes for message in again),
    }


def test_an_empty_conversation_is_json_too() -> None:
    assert json.loads("".join(conversation_of().export("json")))["messages"] == []


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="as 'pdf'"):
        conversation_of().export("pdf")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (TextContent("a"), "a"),
        (CodeContent("f()", "python"), "f()"),
        (ImageContent("image/png", PNG), "[image/png]"),
        ({"b": [1]}, '{"b":[1]}'),
    ],
)
def test_a_message_can_be_read_as_text(content: object, text: str) -> None:
    assert plain_text(AgentMessage("ada", content)) == text


def test_a_transcript_keeps_to_its_size() -> None:
    messages = [AgentMessage("ada", "x" * 100), AgentMessage("bob", "y" * 100)]

    short = transcript(messages, 50)

    assert len(short) <= 50
    assert (short[:8], short[-3:]) == ("ada: xxx", "yyy")
