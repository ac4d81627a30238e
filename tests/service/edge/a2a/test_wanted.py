"""What a message wants."""

from typing import Any

import pytest
from msgspec import UNSET

from tekton.a2a.agent import Agent
from tekton.service.edge.a2a.errors import A2aError, Kind
from tekton.service.edge.a2a.wanted import MOST_PARTS, check_message, check_modes, timeout_of, wanted
from tekton.service.edge.a2a.wire import Message, Part, Role

REVIEWER = Agent("reviewer", ("code_review", "style"), {"text_input": "code", "input_modes": ["image/*"]})
ORDER = {"task_type": "translate", "inputs": {"to": "fr"}}


def message(*parts: Part, **metadata: Any) -> Message:
    return Message(message_id="m", role=Role.USER, parts=list(parts), metadata=metadata or UNSET)


def test_an_order_says_the_type_and_the_inputs() -> None:
    asked = message(Part(data=ORDER), Part(text="please"), skill="other")

    assert wanted(asked, UNSET, ["a", "b"], None) == ("translate", {"to": "fr"})
    assert wanted(message(Part(data={"task_type": "translate"})), UNSET, [], None) == ("translate", {})


@pytest.mark.parametrize("data", [{"task_type": "s", "inputs": {"count": 3.0}}, {"count": 3.0}])
def test_whole_numbers_of_clients_that_know_floating_ones_only_are_integers(data: dict[str, Any]) -> None:
    asked = wanted(message(Part(data=data), skill="s"), UNSET, [], None)

    assert (asked.task_type, repr(asked.inputs)) == ("s", "{'count': 3}")


def test_what_looks_like_an_order_and_says_more_is_inputs() -> None:
    data = {"task_type": "x", "inputs": {}, "more": 1}

    assert wanted(message(Part(data=data), skill="s"), UNSET, [], None) == ("s", data)


def test_metadata_name_the_skill_those_of_the_message_first() -> None:
    assert wanted(message(Part(text="a"), skill="s"), {"skill": "t"}, [], None) == ("s", {"text": "a"})
    assert wanted(message(Part(text="a")), {"skill": "t"}, [], None) == ("t", {"text": "a"})


def test_the_first_skill_of_an_agent_is_meant_or_the_only_one_that_there_is() -> None:
    assert wanted(message(Part(text="a")), UNSET, ["code_review", "style"], REVIEWER) == ("code_review", {"code": "a"})
    assert wanted(message(Part(text="a")), UNSET, ["only"], None) == ("only", {"text": "a"})


@pytest.mark.parametrize(
    ("asked", "skills", "agent", "said"),
    [
        (message(Part(text="a")), ["b", "a"], None, "name one: a, b"),
        (message(Part(text="a")), [], None, "there is none"),
        (message(Part(text="a"), skill="stile"), ["code_review", "style"], REVIEWER, "did you mean 'style'"),
        (message(Part(text="a"), skill="xyz"), ["code_review", "style"], REVIEWER, "it has code_review, style"),
        (message(Part(text="a"), skill=5), [], None, "expected the id of a skill"),
        (message(Part(data=ORDER), Part(data=ORDER)), [], None, "two task types"),
    ],
    ids=["several", "none", "near", "far", "no text", "two orders"],
)
def test_who_does_not_say_what_he_wants_is_helped(
    asked: Message, skills: list[str], agent: Agent | None, said: str
) -> None:
    with pytest.raises(A2aError, match=said) as refused:
        wanted(asked, UNSET, skills, agent)

    assert refused.value.kind is Kind.INVALID_PARAMS
    assert refused.value.violations


def test_a_task_has_an_hour_unless_it_is_said() -> None:
    assert timeout_of(UNSET, {}) == 3600
    assert timeout_of({"skill": "s"}, {"timeout": 5}) == 5
    for timeout in (0, -1, True, "5", 1e12):
        with pytest.raises(A2aError, match="timeout"):
            timeout_of({"timeout": timeout}, {"timeout": 5})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (None, "message"),
        (Message(role=Role.USER, parts=[Part(text="a")]), "message.messageId"),
        (Message(message_id="x" * 513, role=Role.USER, parts=[Part(text="a")]), "message.messageId"),
        (Message(message_id="m", parts=[Part(text="a")]), "message.role"),
        (Message(message_id="m", role=Role.AGENT, parts=[Part(text="a")]), "message.role"),
        (Message(message_id="m", role=Role.USER), "message.parts"),
        (Message(message_id="m", role=Role.USER, parts=[Part(text="a")] * (MOST_PARTS + 1)), "message.parts"),
        (Message(message_id="m", role=Role.USER, parts=[Part(text="a"), Part()]), "message.parts[1]"),
    ],
    ids=["none", "no id", "long id", "no role", "agent", "no parts", "many parts", "no content"],
)
def test_a_message_has_what_it_has_to_have(asked: Message | None, field: str) -> None:
    with pytest.raises(A2aError) as refused:
        check_message(asked)

    assert [one.field for one in refused.value.violations] == [field]


def test_media_types_are_those_that_one_of_the_agents_takes() -> None:
    picture = Part(raw=b"x", media_type="image/png")

    check_modes([Part(text="a"), Part(text="b", media_type="text/markdown"), Part(data=1)], [])
    check_modes([picture], [Agent("other", ("a",)), REVIEWER])
    for part in (picture, Part(raw=b"x"), Part(text="a", media_type="application/xml")):
        with pytest.raises(A2aError) as refused:
            check_modes([part], [])
        assert refused.value.kind is Kind.CONTENT_TYPE_NOT_SUPPORTED
