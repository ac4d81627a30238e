"""Who listens to a subject: a match that was asked for before, a new one, one while others subscribe; a permission.

    python benches/subjects.py [--full]

The native table, against a trie in Python, with a dict of answers in front that each new wildcard empties, and against
what one writes first: all patterns as compiled regular expressions, or with `fnmatch`, one after another. Each of 1,000
subjects has a few listeners, whatever the number of patterns; a sample of the answers is compared.

A match that was asked for before is one lookup here and there, in a dict with a str that knows its hash there: no
gain is to be had, and the gate says only that nothing is lost.
"""

import random
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from _measure import Gate, Outcome, compare, parser, report, verdict
from tekton._native import SubjectTable, covers

SUBJECTS: Final = 1000
FNMATCH_REMEMBERS: Final = 32_768
"""It compiles each pattern anew when there are more: seconds for a subject."""

Match = Callable[[str], Iterable[int]]


class Node:
    """A node of the trie in Python."""

    __slots__ = ("children", "listeners", "rest")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.listeners: list[int] = []
        self.rest: list[int] = []


class PythonTrie:
    """Written for speed: no recursion, no call in the loop but those of dict and list."""

    def __init__(self) -> None:
        self.root = Node()
        self.answers: dict[str, tuple[int, ...]] = {}

    def add(self, pattern: str, listener: int) -> None:
        self._listeners(pattern).append(listener)
        self._forget(pattern)

    def remove(self, pattern: str, listener: int) -> None:
        self._listeners(pattern).remove(listener)
        self._forget(pattern)

    def _forget(self, pattern: str) -> None:
        if "*" in pattern or ">" in pattern:
            self.answers.clear()
        else:
            self.answers.pop(pattern, None)

    def _listeners(self, pattern: str) -> list[int]:
        node = self.root
        for token in pattern.split("."):
            if token == ">":
                return node.rest
            node = node.children.get(token) or node.children.setdefault(token, Node())
        return node.listeners

    def match(self, subject: str) -> tuple[int, ...]:
        answer = self.answers.get(subject)
        if answer is None:
            answer = self.answers[subject] = self.collect(subject)
        return answer

    def collect(self, subject: str) -> tuple[int, ...]:
        nodes, found = [self.root], list[int]()
        for token in subject.split("."):
            following = list[Node]()
            for node in nodes:
                found += node.rest
                for step in (token, "*"):
                    child = node.children.get(step)
                    if child is not None:
                        following.append(child)
            nodes = following
        for node in nodes:
            found += node.listeners
        return tuple(sorted(set(found)))


def expressions(patterns: list[str]) -> Match:
    tokens = {"*": r"[^.]+", ">": r".+"}
    compiled = [
        (
            re.compile(r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split("."))).fullmatch,
            number,
        )
        for number, pattern in enumerate(patterns)
    ]
    return lambda subject: [number for fullmatch, number in compiled if fullmatch(subject)]


def globs(patterns: list[str]) -> Match:
    """`fnmatch` lets `*` match dots too, so what it finds is too much."""
    globbed = [pattern.replace(">", "*") for pattern in patterns]
    return lambda subject: [number for number, glob in enumerate(globbed) if fnmatchcase(subject, glob)]


def make_patterns(count: int) -> list[str]:
    forms = ("component.{}.state.{}", "component.{}.*.{}", "component.{}.state.>")
    return [forms[number % 3].format(number // 6, number % 2) for number in range(count)]


def make_subjects(patterns: int) -> list[str]:
    rng = random.Random(patterns)
    return [f"component.{rng.randrange(patterns // 6)}.state.{rng.randrange(2)}" for _ in range(SUBJECTS)]


def check(matches: Mapping[str, Match], subjects: list[str]) -> None:
    for subject in subjects[:20]:
        answers = {name: sorted(match(subject)) for name, match in matches.items()}
        wanted = answers["regular expressions"]
        assert all(answer == wanted for name, answer in answers.items() if name != "fnmatch"), answers
        assert set(answers.get("fnmatch", wanted)) >= set(wanted)
        assert wanted


def over(subjects: list[str], match: Match) -> Callable[[], None]:
    def run() -> None:
        for subject in subjects:
            match(subject)

    return run


def each(outcomes: Mapping[str, Outcome], count: int) -> dict[str, Outcome]:
    return {name: Outcome(outcome.seconds / count, outcome.ratio, outcome.spread) for name, outcome in outcomes.items()}


def measure_matches(count: int) -> None:
    patterns, subjects = make_patterns(count), make_subjects(count)
    cached, uncached, trie = SubjectTable(), SubjectTable(cache_size=0), PythonTrie()
    for number, pattern in enumerate(patterns):
        for table in (cached, uncached, trie):
            table.add(pattern, number)
    naive = {"regular expressions": expressions(patterns)}
    if count <= FNMATCH_REMEMBERS:
        naive["fnmatch"] = globs(patterns)
    check({"cached": cached.match, "uncached": uncached.match, "trie": trie.collect, **naive}, subjects)

    asked = {"tekton match": over(subjects, cached.match), "a trie in Python": over(subjects, trie.match)}
    title = f"match a subject that was asked for before, {count:,} patterns"
    report(title, each(compare(asked, "tekton match"), SUBJECTS), (Gate("a trie in Python", 0.8),))

    few = subjects[: max(1, 20_000 // count)]
    new = {
        "tekton match": over(few, uncached.match),
        "a trie in Python": over(few, trie.collect),
        **{name: over(few, match) for name, match in naive.items()},
    }
    gates = (Gate("a trie in Python", 7), Gate("regular expressions", 25), Gate("fnmatch", 60))
    report(f"match a new subject, {count:,} patterns", each(compare(new, "tekton match"), len(few)), gates)


def measure_changes(count: int) -> None:
    patterns, subjects = make_patterns(count), make_subjects(count)[:100]
    table, trie = SubjectTable(), PythonTrie()
    for number, pattern in enumerate(patterns):
        table.add(pattern, number)
        trie.add(pattern, number)

    def subscribe(table: SubjectTable | PythonTrie) -> Callable[[], None]:
        add, match, remove = table.add, table.match, table.remove

        def run() -> None:
            add("inbox.ergon.*", count)
            for subject in subjects:
                match(subject)
            remove("inbox.ergon.*", count)

        return run

    contenders = {"tekton SubjectTable": subscribe(table), "a trie in Python": subscribe(trie)}
    title = f"a subscription with a wildcard comes and goes, between 100 messages to others, {count:,} patterns"
    report(title, compare(contenders, "tekton SubjectTable"), (Gate("a trie in Python", 30),))


def covers_in_python(pattern: str, other: str) -> bool:
    mine, theirs = pattern.split("."), other.split(".")
    for place, step in enumerate(mine):
        if place >= len(theirs):
            return False
        token = theirs[place]
        if step == ">":
            return True
        if token == ">" or step not in ("*", token):
            return False
    return len(mine) == len(theirs)


def measure_permissions() -> None:
    pairs = [("component.ergon.>", f"component.ergon.{step}.log") for step in ("*", "state", "a", "b")]
    assert all(covers(*pair) and covers_in_python(*pair) for pair in pairs)

    def ask(question: Callable[[str, str], bool]) -> Callable[[], None]:
        def run() -> None:
            for grant, wanted in pairs:
                question(grant, wanted)

        return run

    contenders = {"tekton covers": ask(covers), "split and compare": ask(covers_in_python)}
    report(
        "does a permission cover it", each(compare(contenders, "tekton covers"), 4), (Gate("split and compare", 1.5),)
    )


def main() -> int:
    options = parser(__doc__).parse_args()
    for count in (100, 10_000, *((100_000,) if options.full else ())):
        measure_matches(count)
    measure_changes(10_000)
    measure_permissions()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
