"""Contents that name a modality are checked before anybody is handed them, and no others are looked at."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.contents import check_contents
from tekton.mcp.message import Message
from tekton.mcp.modality import CodeContent, ImageContent, StructuredContent, TextContent
from tekton.utils.tekton_errors import InvalidContentError

Make = Callable[..., Message]

PNG = b"\x89PNG\r\n\x1a\n123"
WRONG = [
    {"modality": "foo"},
    {"modality": None},
    {"modality": "text", "text": 1},
    {"modality": "text", "text": "a", "more": 1},
    {"modality": "image", "media_type": "image/png", "data": b64encode(b"GIF89a").decode()},
    {"modality": "image", "media_type": "image/png", "data": "*"},
    {"modality": "reference", "uri": "https://a/b"},
]
RIGHT = [
    ImageContent("image/png", data=PNG).to_content(),
    CodeContent("print(1)", "python").to_content(),
    TextContent("*a*", "text/markdown").to_content(),
    StructuredContent({"modality": "mine"}).to_content(),
    {"about": {"modality": "foo"}},
    [{"modality": "foo"}],
    "modality",
]


def batch(*messages: Message, subject: str = "orders.new", msgpack: bool = False) -> tuple[bytes, list[Envelope]]:
    data = Envelope.pack(7, [Envelope(subject, one) for one in messages], msgpack=msgpack)
    return data, Envelope.unpack(data)[1]


@pytest.mark.parametrize("msgpack", [False, True])
@pytest.mark.parametrize("content", WRONG, ids=range(len(WRONG)))
def test_what_is_not_of_its_modality_is_refused_wherever_it_is_in_a_batch(
    message: Make, content: Any, msgpack: bool
) -> None:
    with pytest.raises(InvalidContentError):
        check_contents(*batch(message("ada"), message("ada", content), message("ada"), msgpack=msgpack))


@pytest.mark.parametrize("msgpack", [False, True])
@pytest.mark.parametrize("content", RIGHT, ids=range(len(RIGHT)))
def test_what_is_of_its_modality_or_names_none_is_taken(message: Make, content: Any, msgpack: bool) -> None:
    check_contents(*batch(message("ada", content), msgpack=msgpack))


@pytest.mark.parametrize("name", ["modality", "modalit\\u0079", "\\u006dodality", "\\u006Dod\\u0061lity"])
def test_however_the_name_of_the_member_is_written_it_is_seen(message: Make, name: str) -> None:
    text = message("ada", {"modality": "foo"}).to_json().decode().replace("modality", name)
    one = Message.from_json(text)

    with pytest.raises(InvalidContentError):
        check_contents(one.to_json(), [Envelope("orders.new", one)])


def test_the_content_of_other_messages_is_not_even_decoded(message: Make) -> None:
    class Unread:
        """An envelope that must not be looked into."""

    check_contents(message("ada", {"a": 'x"\n'}).to_json(), [Unread()])  # type: ignore[list-item]


def test_an_answer_may_be_anything(message: Make) -> None:
    check_contents(*batch(message("ada", {"modality": "robot"}), subject="_inbox.billing.17"))


async def test_on_a_socket_nothing_of_it_is_stored_and_the_error_has_its_id(
    bus: Any, people: Any, message: Make
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)

    peer.publish("orders.new", message("ada", {"modality": "foo"}), id=5)
    one = await peer.get(5)
    several = await peer.ask(batch(message("ada", 1), message("ada", {"modality": "foo"}))[0], id=7)
    peer.publish("orders.new", message("ada", {"modality": "text", "text": "a"}), id=6)
    right = await peer.get(6)

    assert [(frame["t"], frame["code"]) for frame in (one, several)] == [("error", "invalid_content")] * 2
    assert (right["t"], right["sequence"]) == ("published", 1)
