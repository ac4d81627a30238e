"""A summary takes the sentences that say most out of a conversation, and makes nothing up."""

import subprocess
import sys

import pytest

from tekton.a2a.conversation_store import ConversationRecord, MemoryConversationStore
from tekton.a2a.message import AgentMessage
from tekton.a2a.summary import sampled, summary_of
from tekton.mcp.modality import CodeContent

REVIEW = [
    "Hello. Can you review the parser of the configuration before the release?",
    "Yes.",
    "The parser of the configuration accepts duplicate keys. The second key silently wins, and the release breaks.",
    "Oh. I see.",
    "I suggest that the parser refuses duplicate keys with the line of the second key.",
    "Thanks.",
    "Lunch is at noon.",
]


def messages(*texts: str) -> list[AgentMessage]:
    return [AgentMessage("ada", text) for text in texts]


def test_what_is_talked_about_most_is_said_and_courtesies_are_not() -> None:
    summary = summary_of(messages(*REVIEW), 2)

    assert summary.splitlines() == [
        "ada: The parser of the configuration accepts duplicate keys.",
        "ada: The second key silently wins, and the release breaks.",
    ]


@pytest.mark.parametrize("count", [1, 3, 50])
def test_sentences_are_taken_out_as_they_are_and_in_their_order(count: int) -> None:
    summary = [line.removeprefix("ada: ") for line in summary_of(messages(*REVIEW), count).splitlines()]

    places = ["\n".join(REVIEW).index(line) for line in summary]
    assert places == sorted(set(places))
    assert len(summary) == min(count, 10)


def test_each_sentence_has_who_said_it() -> None:
    said = [AgentMessage("ada", "Is the bus fast?"), AgentMessage("bob", "The bus is very fast.")]

    assert summary_of(said, 5) == "ada: Is the bus fast?\nbob: The bus is very fast."


def test_what_is_repeated_is_said_once() -> None:
    assert summary_of(messages("The bus is fast.", "The bus is fast!", "the BUS is fast"), 5) == "ada: The bus is fast."


@pytest.mark.parametrize("said", [[], [""], ["…", "!!!"]], ids=["nobody", "nothing", "marks"])
def test_of_nothing_there_is_no_summary(said: list[str]) -> None:
    assert summary_of(messages(*said), 5) == ""


def test_scripts_without_spaces_have_sentences_and_words_too() -> None:
    said = "解析器接受重复的键。第二个键覆盖第一个键\uff01你好。午饭在中午。解析器应该拒绝重复的键。"

    summary = summary_of(messages(said), 2)

    assert summary.splitlines() == ["ada: 解析器接受重复的键。", "ada: 第二个键覆盖第一个键\uff01"]


def test_code_and_data_are_read_as_text() -> None:
    said = [AgentMessage("ada", CodeContent("x = 1\ny = 2", "python")), AgentMessage("bob", {"answer": "yes"})]

    assert summary_of(said, 5) == 'ada: x = 1\nada: y = 2\nbob: {"answer":"yes"}'


def test_a_long_sentence_is_cut() -> None:
    summary = summary_of(messages("word " * 200), 1)

    assert len(summary) == len("ada: ") + 300
    assert summary.endswith("…")


def test_one_message_cannot_fill_the_summary_by_its_length() -> None:
    said = messages("\n".join(f"spam number {number}" for number in range(500)))

    assert len(summary_of(said, 50).splitlines()) == 10


@pytest.mark.parametrize("count", [0, 51])
def test_a_summary_has_one_to_fifty_sentences(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 50"):
        summary_of([], count)


def test_the_same_conversation_has_the_same_summary_in_each_process() -> None:
    code = (
        "from tekton.a2a.summary import summary_of\nfrom tekton.a2a.message import AgentMessage\n"
        "words = [f'w{n * n % 23} x{n % 7} y{n % 5} z{n % 3}.' for n in range(200)]\n"
        "print(summary_of([AgentMessage('ada', text) for text in words], 9))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(made) == 1
    assert len(made.pop().splitlines()) == 9


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 999, 1000])
def test_of_up_to_a_thousand_messages_all_are_looked_at(count: int) -> None:
    assert places_sampled(count) == list(range(1, count + 1))


@pytest.mark.parametrize("count", [1001, 1049, 5000])
def test_of_more_a_thousand_are_from_the_first_to_the_last(count: int) -> None:
    places = places_sampled(count)

    assert (len(places), places[0], places[-1], len(set(places))) == (1000, 1, count, 1000)
    assert places == sorted(places)


def places_sampled(count: int) -> list[int]:
    """The numbers of the messages that are looked at."""
    store = MemoryConversationStore()
    store.create(ConversationRecord("c", "ada", ("ada",), 1.0, 1.0))
    numbers = {}
    for _ in range(count):
        message = AgentMessage("ada", "")
        numbers[message.message_id] = store.append("c", message, 1.0).sequence
    return [numbers[message.message_id] for message in sampled(store, "c", count)]
