"""Cards that strangers have written: what is read of them, and what is refused."""

import json
from typing import Any

import pytest

from tekton.a2a.agent import Skill
from tekton.utils.remote_agents.card import BadCardError, CardInterface, read_card

RPC = {"url": "https://agents.example/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
REST = {"url": "https://agents.example/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0.1", "tenant": "a"}


def card(**members: Any) -> bytes:
    whole = {"name": "Reviewer", "version": "1.4.0", "supportedInterfaces": [RPC], **members}
    return json.dumps({name: member for name, member in whole.items() if member is not ...}).encode()


def test_a_card_says_what_its_agent_can_do_and_where() -> None:
    skill = {"id": "code_review", "name": "Review", "description": "Reads code.", "tags": ["python"]}
    known = read_card(card(description="Reads.", skills=[skill], capabilities={"streaming": True}))

    assert (known.name, known.description, known.version, known.streaming) == ("Reviewer", "Reads.", "1.4.0", True)
    assert known.skills == (Skill("code_review", "Review", "Reads code.", ("python",)),)
    assert known.capabilities == ("code_review",)
    assert known.interfaces == (CardInterface("https://agents.example/rpc", "JSONRPC"),)


def test_names_become_valid_ones_and_those_of_which_nothing_is_left_are_left_out() -> None:
    skills = [
        {"id": "Code Review", "name": "a", "tags": ["C++", "Übung", "…"]},
        {"id": "code.Review!", "name": "b"},
        {"id": "…", "name": "c"},
    ]
    known = read_card(card(skills=skills))

    assert known.capabilities == ("code-review", "code.review")
    assert known.skills[0].tags == ("c", "bung")


@pytest.mark.parametrize(
    ("told", "version"), [("1.4", "1.4"), ("v2.0.1", "2.0.1"), ("latest", "0.0.0"), ("", "0.0.0"), ("1.2.3.4", "0.0.0")]
)
def test_a_version_that_is_none_is_the_lowest(told: str, version: str) -> None:
    assert read_card(card(version=told)).version == version


def test_interfaces_that_cannot_be_spoken_are_left_out() -> None:
    others = [
        {"url": "grpc.example:443", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
        {"url": "https://agents.example/old", "protocolBinding": "JSONRPC", "protocolVersion": "0.3.0"},
    ]
    known = read_card(card(supportedInterfaces=[*others, REST, RPC]))

    assert known.interfaces == (
        CardInterface("https://agents.example/rest", "HTTP+JSON", "a"),
        CardInterface("https://agents.example/rpc", "JSONRPC"),
    )


def test_null_stands_for_what_is_not_there() -> None:
    known = read_card(card(description=None, skills=None, capabilities={"streaming": None}))

    assert (known.description, known.skills, known.streaming) == ("", (), False)


def test_texts_without_end_are_cut() -> None:
    known = read_card(card(name="n" * 9000, description="d" * 9000))

    assert (len(known.name), len(known.description)) == (2000, 2000)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no JSON object"),
        (b"[" * 90_000, "no JSON"),
        (b'{"name":' + b'{"a":' * 30 + b"1" + b"}" * 30 + b"}", "nested more than 20 levels"),
        (card(name=...), "name"),
        (card(name="  "), "/name: it is empty"),
        (card(version=...), "version"),
        (card(version=2), "/version"),
        (card(supportedInterfaces=...), "supportedInterfaces"),
        (card(supportedInterfaces=[]), "none of them"),
        (card(supportedInterfaces=[RPC] * 17), "more than 16"),
        (card(supportedInterfaces=[{**RPC, "protocolVersion": "2.0"}]), "none of them"),
        (card(supportedInterfaces=[{**RPC, "protocolVersion": "1.0\n"}]), "none of them"),
        (card(supportedInterfaces=[{**RPC, "url": "ftp://agents.example"}]), "a URL must be"),
        (card(supportedInterfaces=[{**RPC, "url": "https://me:pw@agents.example"}]), "a URL must not name a user"),
        (card(supportedInterfaces=[{**RPC, "url": "https://agents.example/?x=1"}]), "has a query"),
        (card(supportedInterfaces=[{**RPC, "tenant": "../admin"}]), "a tenant"),
        (card(supportedInterfaces=[{**RPC, "tenant": ".."}]), "a tenant"),
        (card(skills=[{"id": "a", "name": "a"}] * 257), "more than 256"),
        (card(skills=[{"id": "a"}]), "/skills/0"),
        (card(capabilities={"extensions": [{"uri": "urn:x", "required": True}]}), "requires an extension"),
    ],
)
def test_what_is_no_card_is_refused_with_the_reason(body: bytes, problem: str) -> None:
    with pytest.raises(BadCardError) as caught:
        read_card(body)

    assert problem in str(caught.value)
