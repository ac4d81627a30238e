"""Regular expressions for lines that strangers have written, asked for by strangers: no pattern can take long.

The engine of the standard library tries one way after another, and for some patterns there are more ways than the sun
has seconds left; nor can it be stopped in a thread, where it holds up all others. This one goes along a line once, in
all ways at the same time (Thompson 1968; what was found out about a set of states is kept, as in RE2), so that a line
costs in proportion to its length: mostly 0.1 µs a character, up to 0.1 ms with the worst pattern, far less where a
literal part of the pattern is missing from the line. It only says whether there is a match.

Understood are literals, `.`, classes, `\\d \\w \\s \\b` and their opposites, `^ $`, `( )`, `(?: )`, `|`, `* + ? {m,n}`,
and lazy ones of these (which is the same here). All else, such as `\\1` and `(?=…)`, is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

MOST_STATES: Final = 500
"""Of a pattern: `{m,n}` counts as many times as it says."""

LONGEST_LINE: Final = 16 * 1024
"""Characters of a line that are looked at."""

_MOST_CACHED: Final = 20_000
_MOST_REPEATS: Final = 200

_Assertion = Literal["^", "$", "b", "B"]
_Test = Callable[[str], bool]


class PatternError(ValueError):
    """The pattern is wrong, or not understood here, at `position` (from 0)."""

    def __init__(self, problem: str, position: int) -> None:
        self.problem = problem
        self.position = position
        super().__init__(f"{problem} (character {position + 1})")


@dataclass(frozen=True, slots=True)
class _One:
    """A character that passes *test*; *literal* is which one, where it is only one."""

    test: _Test
    literal: str | None = None


@dataclass(frozen=True, slots=True)
class _At:
    """A place in the line."""

    assertion: _Assertion


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Either:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: "_Node"
    least: int
    most: int | None


_Node = _One | _At | _Sequence | _Either | _Repeat


def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """What tells whether *pattern* is found anywhere in a text of one line. Raises PatternError."""
    node = _Parser(pattern, ignore_case).parse()
    needed = "" if ignore_case else max(_literals(node), key=len, default="")
    if isinstance(node, _Sequence) and needed == "".join(_literal(part) or "\0" for part in node.parts):
        return lambda text: needed in text[:LONGEST_LINE]
    search = _Automaton(node).search
    return lambda text: needed in text and search(text[:LONGEST_LINE])


def _literal(node: _Node) -> str | None:
    return node.literal if isinstance(node, _One) else None


def _literals(node: _Node) -> Iterator[str]:
    """The texts that are in whatever *node* matches."""
    run = ""
    for part in node.parts if isinstance(node, _Sequence) else ():
        if (literal := _literal(part)) is not None:
            run += literal
        else:
            yield run
            run = ""
    yield run


_CLASSES: Final[dict[str, _Test]] = {
    "d": str.isdecimal,
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
}
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIERS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _Parser:
    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self._pattern = pattern
        self._at = 0
        self._ignore_case = ignore_case

    def parse(self) -> _Node:
        node = self._either(0)
        if self._at < len(self._pattern):
            raise self._error("a ) without a (")
        return node

    def _either(self, depth: int) -> _Node:
        if depth > 20:
            raise self._error("too many parentheses inside one another")
        parts = [self._sequence(depth)]
        while self._takes("|"):
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def _sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self._next not in ("", "|", ")"):
            parts.append(self._quantified(self._atom(depth)))
        return _Sequence(tuple(parts))

    def _quantified(self, node: _Node) -> _Node:
        times = self._times()
        if times is None:
            return node
        if isinstance(node, _At):
            raise self._error("a place cannot be repeated")
        self._takes("?")
        if (self._next and self._next in "*+?") or self._counted() is not None:
            raise self._error("what is repeated already is repeated again")
        return _Repeat(node, *times)

    def _times(self) -> tuple[int, int | None] | None:
        if (times := _QUANTIFIERS.get(self._next)) is not None:
            self._at += 1
            return times
        if (counted := self._counted()) is None:
            return None
        self._at, least, most = counted
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            raise self._error(f"from {least} to {most} times: at most {_MOST_REPEATS}, and not less than at least")
        return least, most

    def _counted(self) -> tuple[int, int, int | None] | None:
        """What stands in braces: where they end, and how often that is. Other braces are literal, as usual."""
        end = self._pattern.find("}", self._at)
        if self._next != "{" or end < 0:
            return None
        least, comma, most = self._pattern[self._at + 1 : end].partition(",")
        digits = "0123456789"
        if (not least and not most) or not set(least + most) <= set(digits) or len(least + most) > 8:
            return None
        return end + 1, int(least or 0), int(most) if most else None if comma else int(least)

    def _atom(self, depth: int) -> _Node:
        character = self._take()
        match character:
            case "(":
                return self._group(depth)
            case "[":
                return self._class()
            case ".":
                return _One(lambda other: other != "\n")
            case "^" | "$":
                return _At("^" if character == "^" else "$")
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise self._error("nothing to repeat", -1)
        return self._one(character)

    def _group(self, depth: int) -> _Node:
        if self._takes("?") and not self._takes(":"):
            raise self._error("of the groups with (? only (?: is understood")
        node = self._either(depth + 1)
        if not self._takes(")"):
            raise self._error("a ( without a )")
        return node

    def _escape(self) -> _Node:
        character = self._take("a \\ at the end")
        if character in ("b", "B"):
            return _At("b" if character == "b" else "B")
        if (test := _class_test(character)) is not None:
            return _One(test)
        return self._one(self._unescaped(character))

    def _unescaped(self, character: str) -> str:
        if character in _ESCAPED:
            return _ESCAPED[character]
        if character.isalnum():
            raise self._error(f"\\{character} is not understood", -1)
        return character

    def _one(self, character: str) -> _One:
        if self._ignore_case and character.lower() != character.upper():
            return _One(lambda other: other.lower() == character.lower())
        return _One(lambda other: other == character, character)

    def _class(self) -> _Node:
        negated = self._takes("^")
        tests: list[_Test] = []
        while not (self._next == "]" and tests):
            tests.append(self._member())
        self._at += 1
        fold = self._ignore_case

        def test(character: str) -> bool:
            either = {character, character.lower(), character.upper()} if fold else (character,)
            return any(one(each) for one in tests for each in either) is not negated

        return _One(test)

    def _member(self) -> _Test:
        first = self._take("a [ without a ]")
        if first == "\\":
            first = self._take("a \\ at the end")
            if (test := _class_test(first)) is not None:
                return test
            first = "\b" if first == "b" else self._unescaped(first)
        if self._next != "-" or self._pattern[self._at + 1 : self._at + 2] in ("]", ""):
            return lambda other: other == first
        self._at += 1
        last = self._take("a [ without a ]")
        if last == "\\":
            last = self._unescaped(self._take("a \\ at the end"))
        if last < first:
            raise self._error(f"from {first} to {last} there is nothing", -1)
        return lambda other: first <= other <= last

    @property
    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _takes(self, character: str) -> bool:
        found = self._next == character
        self._at += found
        return found

    def _take(self, otherwise: str = "") -> str:
        character = self._next
        if not character:
            raise self._error(otherwise)
        self._at += 1
        return character

    def _error(self, problem: str, offset: int = 0) -> PatternError:
        return PatternError(problem, min(self._at + offset, len(self._pattern)))


def _class_test(name: str) -> _Test | None:
    test = _CLASSES.get(name.lower())
    if test is None or name == name.lower():
        return test
    return lambda character: not test(character)


class _State(NamedTuple):
    """Goes on to `then`: over a character that passes `test`, at a place, or just so."""

    then: tuple[int, ...]
    test: _Test | None = None
    assertion: _Assertion | None = None


_Kind = Literal["edge", "word", "other"]
_Known = tuple[int, _Kind]
"""The states that the last character has passed, as bits, and what kind of character that was."""

_FOUND: Final = 1
"""The bit of state 0, which is the end."""


class _Automaton:
    def __init__(self, node: _Node) -> None:
        self._states: list[_State] = [_State(())]
        self._start = 1 << self._new(_State((self._add(node, 0),)))
        self._behind: dict[tuple[_Kind, _Kind], dict[int, int]] = {}
        self._passing: dict[str, int] = {}
        self._steps: dict[_Known, dict[str, _Known | None]] = {}
        self._cached = 0

    def search(self, text: str) -> bool:
        """Whether there is a match anywhere in *text*."""
        known: _Known = (self._start, "edge")
        steps = self._enter(known)
        for character in text:
            try:
                after = steps[character]
            except KeyError:
                after = steps[character] = self._step(known, character)
            if after is None:
                return True
            known = after
            steps = self._steps.get(known) or self._enter(known)  # an empty one is entered again
        return bool(self._reached(known, "edge") & _FOUND)

    def _enter(self, known: _Known) -> "dict[str, _Known | None]":
        if self._cached >= _MOST_CACHED:
            self._steps.clear()
            self._passing.clear()
            self._cached = 0
        return self._steps.setdefault(known, {})

    def _step(self, known: _Known, character: str) -> _Known | None:
        """What is known behind *character*; None when there has been a match."""
        self._cached += 1
        coming = _kind(character)
        reached = self._reached(known, coming)
        if reached & _FOUND:
            return None
        if character not in self._passing:
            self._passing[character] = sum(
                1 << number for number, state in enumerate(self._states) if state.test and state.test(character)
            )
        return reached & self._passing[character] | self._start, coming

    def _reached(self, known: _Known, coming: _Kind) -> int:
        """The states that may pass the next character, which is of the kind *coming*."""
        passed, last = known
        behind = self._behind.setdefault((last, coming), {})
        reached = 0
        while passed:
            bit = passed & -passed
            passed ^= bit
            if bit not in behind:
                behind[bit] = self._all_behind(bit.bit_length() - 1, last, coming)
            reached |= behind[bit]
        return reached

    def _all_behind(self, number: int, last: _Kind, coming: _Kind) -> int:
        """The states that are reached from the one that was passed, without a character."""
        reached = 0
        pending = list(self._states[number].then)
        while pending:
            number = pending.pop()
            if reached >> number & 1:
                continue
            reached |= 1 << number
            state = self._states[number]
            if state.test is None and (state.assertion is None or _holds(state.assertion, last, coming)):
                pending += state.then
        return reached

    def _new(self, state: _State) -> int:
        if len(self._states) >= MOST_STATES:
            raise PatternError("the pattern is too large", 0)
        self._states.append(state)
        return len(self._states) - 1

    def _add(self, node: _Node, then: int) -> int:
        """The state from which *node* leads to *then*."""
        match node:
            case _One():
                return self._new(_State((then,), test=node.test))
            case _At():
                return self._new(_State((then,), assertion=node.assertion))
            case _Sequence():
                for part in reversed(node.parts):
                    then = self._add(part, then)
                return then
            case _Either():
                return self._new(_State(tuple(self._add(part, then) for part in node.parts)))
        return self._add_repeat(node, then)

    def _add_repeat(self, node: _Repeat, then: int) -> int:
        if node.most is None:
            again = self._new(_State(()))
            self._states[again] = _State((self._add(node.part, again), then))
            then = again
        else:
            end = then
            for _ in range(node.most - node.least):
                then = self._new(_State((self._add(node.part, then), end)))
        for _ in range(node.least):
            then = self._add(node.part, then)
        return then


def _kind(character: str) -> _Kind:
    return "word" if _CLASSES["w"](character) else "other"


def _holds(assertion: _Assertion, last: _Kind, coming: _Kind) -> bool:
    if assertion in ("^", "$"):
        return (last if assertion == "^" else coming) == "edge"
    return ((last == "word") != (coming == "word")) == (assertion == "b")
