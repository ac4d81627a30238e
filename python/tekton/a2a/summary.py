"""What a conversation was about, in its own words: the sentences that say most of it.

SumBasic (Nenkova and Vanderwende, The impact of frequency on summarization, 2005): the sentence whose words are the
most probable on average is taken; then its words count for less, squared, and so on. In place of a list of stop words,
which would be of one language, a word is weighted by how few of the sentences have it (inverse document frequency,
Spärck Jones 1972): what stands in all of them says nothing.

No language is assumed. Words are what Unicode calls so; of scripts that have no spaces between words, pairs of
characters count as words. Nothing is random; of equals the first is taken. O(words of the sample * sentences taken),
and the sample is bounded.

It is bad at what is said once and matters, at irony, and at conversations of one sentence each.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from tekton.a2a.conversation_export import plain_text
from tekton.a2a.conversation_store import ConversationStore
from tekton.a2a.message import AgentMessage

__all__ = ["SENTENCES", "sampled", "summary_of"]

SENTENCES: Final = 5
"""How many sentences a summary has, by default."""
MOST_SENTENCES: Final = 50

_BLOCK = 50
_BLOCKS = 20
"""So many messages in a row are looked at, at so many places of a long conversation."""
_MOST_TEXT = 2000
"""Characters of one message that are looked at."""
_MOST_OF_ONE = 10
"""Sentences of one message that are looked at."""
_MOST_SENTENCE = 300
"""Characters of a sentence that a summary shows."""
_FEWEST_WORDS = 6
"""A sentence of fewer words is weighed as if it had so many: "Yes." is no summary."""

# The scripts of Chinese and Japanese, Thai, Lao, Burmese and Khmer: words without spaces between them.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。\uff01\uff1f])|[\r\n]+")  # the two are full-width ! and ?


class _Sentence(NamedTuple):
    sender: str
    text: str
    words: frozenset[str]


def sampled(store: ConversationStore, conversation_id: str, last: int) -> Iterator[AgentMessage]:
    """All of the *last* messages of a conversation; of more than a thousand, blocks from its beginning to its end."""
    if last <= _BLOCK * _BLOCKS:
        places = list(range(0, last, _BLOCK))
    else:
        # Evenly spaced, the first at the beginning and the last at the end.
        places = [number * (last - _BLOCK) // (_BLOCKS - 1) for number in range(_BLOCKS)]
    for after in places:
        yield from (entry.message for entry in store.read(conversation_id, after, _BLOCK))


def summary_of(messages: Iterable[AgentMessage], count: int) -> str:
    """The *count* sentences (1 to 50) that say most of what *messages* say, in their order, one a line."""
    if not 1 <= count <= MOST_SENTENCES:
        raise ValueError(f"expected 1 to {MOST_SENTENCES} sentences, got {count}")
    sentences = list(_distinct(_sentences(messages)))
    chosen = sorted(_choose(sentences, count))
    return "\n".join(f"{sentences[place].sender}: {_shown(sentences[place].text)}" for place in chosen)


def _sentences(messages: Iterable[AgentMessage]) -> Iterator[_Sentence]:
    for message in messages:
        texts = ((text, frozenset(_words(text))) for text in _END.split(plain_text(message)[:_MOST_TEXT]))
        for text, words in islice((one for one in texts if one[1]), _MOST_OF_ONE):
            yield _Sentence(message.sender, text, words)


def _distinct(sentences: Iterable[_Sentence]) -> Iterator[_Sentence]:
    """Without those that say nothing but what one before them has said."""
    seen: set[frozenset[str]] = set()
    for sentence in sentences:
        if sentence.words not in seen:
            seen.add(sentence.words)
            yield sentence


def _words(text: str) -> Iterator[str]:
    for found in _WORD.findall(text.casefold()):
        if _IS_UNSPACED.match(found):
            yield from (found[place : place + 2] for place in range(max(1, len(found) - 1)))
        else:
            yield found


def _choose(sentences: list[_Sentence], count: int) -> list[int]:
    """The places of those that are taken."""
    weights = _weights(sentences)
    left = dict(enumerate(sentences))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda place: (_score(left[place], weights), -place))
        chosen.append(best)
        for word in left.pop(best).words:
            weights[word] **= 2
    return chosen


def _weights(sentences: list[_Sentence]) -> dict[str, float]:
    """The probability of each word, less the more sentences have it. All together they are at most 1."""
    having = Counter(word for sentence in sentences for word in sentence.words)
    total = having.total() or 1
    rarest = math.log(1 + len(sentences))
    return {word: count / total * math.log((1 + len(sentences)) / count) / rarest for word, count in having.items()}


def _score(sentence: _Sentence, weights: dict[str, float]) -> float:
    # Exact: another sum would depend on the order of the words, which in a set is another one in each process.
    return math.fsum(weights[word] for word in sentence.words) / max(len(sentence.words), _FEWEST_WORDS)


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_SENTENCE else f"{text[: _MOST_SENTENCE - 1]}…"
