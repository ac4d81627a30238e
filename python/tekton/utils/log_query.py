"""What is looked for in logs, in one line of text: the language of `tekton logs --query` and of `GET /api/logs`.

    level>=warn comp:rhetor /time(d )?out/ since:10m status=503 -healthcheck "connection reset"

Terms stand beside one another, and all of them must hold. A `-` in front turns one around.

* `level>=warning` (`: = != > >= < <=`): the level of the line. One that shows none passes `>=` and `>`: it may belong
  to the line before.
* `comp:rhetor`, `comp:web-*,api`: who has written it. A component stands for all its replicas, too.
* `since:10m`, `until:2026-01-31T12:00:00Z`: when, as a length of time before now, a time (UTC unless it says otherwise)
  or seconds since 1970. A line without a time has that of the line before it; before the first time, it passes.
* `status=503`, `user.name=ann*`, `duration_ms>250`: a field of a JSON line. `=` and `!=` compare texts, `*` stands for
  anything; the others compare numbers.
* `timeout`, `"two words"`: somewhere in the line, capital or small. `/pattern/`, `/pattern/i`: see `line_pattern`.

A query is read once and then tells of each line whether it is wanted (`Query.wants`).
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any, Final, NamedTuple, Protocol

from tekton.utils.line_pattern import PatternError, compile_pattern
from tekton.utils.tekton_ids import nearest_name

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
KEYWORDS: Final = ("level", "comp", "component", "since", "until")

MOST_TERMS: Final = 50
LONGEST: Final = 1000
"""Characters of a query."""

_OTHER_LEVELS: Final = {"trace": "debug", "warn": "warning", "err": "error", "fatal": "critical", "crit": "critical"}
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {">=": ge, "<=": le, ">": gt, "<": lt}
_HEAD: Final = re.compile(r"([A-Za-z_@][\w.@-]*)(>=|<=|!=|[:=<>])")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_LENGTHS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LENGTH: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w))+")
_PART: Final = re.compile(r"([0-9.]+)(ms|s|m|h|d|w)")
_BLANKS: Final = " \t\r\n"


class LogQueryError(ValueError):
    """The query is wrong at `position` (from 0): `problem`, and the keyword that was probably meant, if any."""

    def __init__(self, problem: str, position: int, nearest: str | None = None) -> None:
        self.problem = problem
        self.position = position
        self.nearest = nearest
        super().__init__(f"{problem} (character {position + 1})")


class Line(Protocol):
    """What a line says; `tekton.supervisor.log_lines.LogLine` is one."""

    @property
    def text(self) -> str: ...
    @property
    def level(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


class Seen(NamedTuple):
    """A line, the unit that has written it, and when: it says so itself, or a line before it does."""

    unit: str
    time: float | None
    line: Line


_Test = Callable[[Seen], bool]


class Query:
    """All that *text* asks for. *now* is the time (seconds since 1970) that lengths of time count from.

    Raises LogQueryError for the first mistake.
    """

    def __init__(self, text: str, now: float) -> None:
        terms = _Reader(text, now).terms()
        self.text = text
        self.since = max((term.since for term in terms if term.since is not None), default=None)
        """No line from before that is wanted."""
        self.until = min((term.until for term in terms if term.until is not None), default=None)
        self._tests = [term.test for term in terms]
        self._units = [term.unit for term in terms if term.unit is not None]

    @property
    def open(self) -> bool:
        """True when every line is wanted."""
        return not self._tests

    def wants(self, seen: Seen) -> bool:
        """True for a line that was asked for."""
        return all(test(seen) for test in self._tests)

    def wants_unit(self, unit: str) -> bool:
        """False for a unit none of whose lines can be wanted."""
        return all(test(unit) for test in self._units)


def query_of(
    text: str = "", *, level: str | None = None, since: float | None = None, until: float | None = None, now: float
) -> Query:
    """The query *text* with what stands beside it in words of its own: a least level, times in seconds since 1970."""
    Query(text, now)  # so that a mistake in it is told as one of its own
    times = [f"{name}:{moment:.6f}" for name, moment in (("since", since), ("until", until)) if moment is not None]
    return Query(" ".join([text, *([f"level>={level}"] if level else []), *times]), now)


class _Term(NamedTuple):
    test: _Test
    since: float | None = None
    until: float | None = None
    unit: Callable[[str], bool] | None = None


class _Reader:
    def __init__(self, text: str, now: float) -> None:
        if len(text) > LONGEST + 100:
            raise LogQueryError(f"a query has at most {LONGEST} characters", LONGEST)
        self._text = text
        self._at = 0
        self._now = now

    def terms(self) -> list[_Term]:
        terms: list[_Term] = []
        while self._skip_blanks():
            if len(terms) == MOST_TERMS:
                raise LogQueryError(f"a query has at most {MOST_TERMS} terms", self._at)
            terms.append(self._term())
        return terms

    def _skip_blanks(self) -> bool:
        while self._text[self._at : self._at + 1] and self._text[self._at] in _BLANKS:
            self._at += 1
        return self._at < len(self._text)

    def _term(self) -> _Term:
        if self._text[self._at] != "-":
            return self._positive()
        self._at += 1
        if self._text[self._at : self._at + 1] in ("", "-", *_BLANKS):
            raise LogQueryError("a - with nothing behind it; put it in quotes to search for it", self._at - 1)
        return _negated(self._positive())

    def _positive(self) -> _Term:
        start = self._at
        if self._text[start] == "/":
            return _Term(self._pattern())
        if self._text[start] == '"':
            return _containing(self._quoted())
        head = _HEAD.match(self._text, start)
        if head is None:
            return _containing(self._word())
        self._at = head.end()
        return self._comparison(head[1], head[2], start)

    def _comparison(self, name: str, operator: str, start: int) -> _Term:
        at = self._at
        value = self._value()
        keyword = name.lower()
        if keyword == "level":
            return _Term(_of_level(operator, self._level(value, at)))
        if keyword in ("comp", "component"):
            return _of_unit(self._equality(operator, start), value)
        if keyword in ("since", "until"):
            if operator not in (":", "="):
                raise LogQueryError(f"{keyword} is followed by a colon", start)
            return _of_time(keyword, self._time(value, at))
        return self._of_field(name, operator, value, start, at)

    def _of_field(self, name: str, operator: str, value: str, start: int, at: int) -> _Term:
        if operator == ":":
            nearest = nearest_name(name.lower(), KEYWORDS)
            problem = f"{name}: is none of {', '.join(KEYWORDS)}; a field is compared by =, other text stands in quotes"
            raise LogQueryError(problem, start, nearest)
        if operator in ("=", "!="):
            return _Term(_field_is(name, value, equal=operator == "="))
        if _NUMBER.fullmatch(value) is None:
            nearest = nearest_name(name.lower(), KEYWORDS)
            raise LogQueryError(f"{name}{operator} needs a number, not {value!r}", at, nearest)
        return _Term(_field_compares(name, _COMPARISONS[operator], float(value)))

    def _equality(self, operator: str, start: int) -> bool:
        if operator not in (":", "=", "!="):
            raise LogQueryError("a component is not more or less than another", start)
        return operator != "!="

    def _level(self, value: str, at: int) -> str:
        level = _OTHER_LEVELS.get(value.lower(), value.lower())
        if level not in LEVELS:
            nearest = nearest_name(level, (*LEVELS, *_OTHER_LEVELS))
            raise LogQueryError(f"{value!r} is no level: {', '.join(LEVELS)}", at, nearest)
        return level

    def _time(self, value: str, at: int) -> float:
        if _LENGTH.fullmatch(value) is not None:
            return self._now - sum(float(number) * _LENGTHS[unit] for number, unit in _PART.findall(value))
        if _NUMBER.fullmatch(value) is not None:
            return float(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise LogQueryError(f"{value!r} is no time: 10m, 2026-01-31T12:00:00Z", at) from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _value(self) -> str:
        at = self._at
        value = self._quoted() if self._text[at : at + 1] == '"' else self._word()
        if not value:
            raise LogQueryError("a value is missing", at)
        return value

    def _word(self) -> str:
        start = self._at
        while self._at < len(self._text) and not self._text[self._at].isspace():
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self) -> str:
        start = self._at
        text = self._up_to('"', start, "the quote is not closed")
        if not text:
            raise LogQueryError("there is nothing in the quotes", start)
        return re.sub(r'\\(["\\])', r"\1", text)

    def _pattern(self) -> _Test:
        start = self._at
        pattern = self._up_to("/", start, "the pattern has no / at its end").replace("\\/", "/")
        ignore_case = self._text[self._at : self._at + 1] == "i"
        self._at += ignore_case
        if self._text[self._at : self._at + 1].strip():
            raise LogQueryError("behind the pattern stands what is no term; / in it is written \\/", self._at)
        try:
            matches = compile_pattern(pattern, ignore_case=ignore_case)
        except PatternError as error:
            raise LogQueryError(error.problem, start + 1 + error.position) from error
        return lambda seen: matches(seen.line.text)

    def _up_to(self, end: str, start: int, problem: str) -> str:
        """What stands before the next *end* that has no backslash in front."""
        at = start + 1
        while at < len(self._text) and self._text[at] != end:
            at += 2 if self._text[at] == "\\" else 1
        if at >= len(self._text):
            raise LogQueryError(problem, start)
        self._at = at + 1
        return self._text[start + 1 : at]


def _negated(term: _Term) -> _Term:
    test, unit = term.test, term.unit
    return _Term(lambda seen: not test(seen), unit=None if unit is None else lambda name: not unit(name))


def _containing(text: str) -> _Term:
    wanted = text.casefold()
    return _Term(lambda seen: wanted in seen.line.text.casefold())


def _of_level(operator: str, level: str) -> _Test:
    rank = LEVELS.index(level)
    if operator in (":", "=", "!="):
        return lambda seen: (seen.line.level == level) is (operator != "!=")
    compares, unknown = _COMPARISONS[operator], operator in (">=", ">")
    wanted = {name for at, name in enumerate(LEVELS) if compares(at, rank)}
    return lambda seen: unknown if seen.line.level is None else seen.line.level in wanted


def _of_unit(equal: bool, value: str) -> _Term:
    matches = [_glob(pattern) for pattern in value.split(",") if pattern]

    def unit(name: str) -> bool:
        component = name.partition(".")[0]
        return any(match(name) or match(component) for match in matches) is equal

    return _Term(lambda seen: unit(seen.unit), unit=unit)


def _of_time(keyword: str, moment: float) -> _Term:
    if keyword == "since":
        return _Term(lambda seen: seen.time is None or seen.time >= moment, since=moment)
    return _Term(lambda seen: seen.time is None or seen.time <= moment, until=moment)


def _field_is(name: str, value: str, *, equal: bool) -> _Test:
    matches = _glob(value)
    number = float(value) if _NUMBER.fullmatch(value) is not None else None

    def test(seen: Seen) -> bool:
        found = field_of(seen.line, name)
        if found is None:
            return not equal
        same = number is not None and isinstance(found, int | float) and not isinstance(found, bool) and found == number
        return (same or matches(_text(found))) is equal

    return test


def _field_compares(name: str, compares: Callable[[Any, Any], bool], number: float) -> _Test:
    def test(seen: Seen) -> bool:
        found = field_of(seen.line, name)
        return isinstance(found, int | float) and not isinstance(found, bool) and compares(found, number)

    return test


def field_of(line: Line, name: str) -> Any:
    """The field *name* of a line; with dots in its name, one inside another. None when there is none."""
    if name == "message":
        return line.message
    if name in line.fields:
        return line.fields[name]
    found: Any = line.fields
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return ""  # what holds others is compared by their names


def _glob(pattern: str) -> Callable[[str], bool]:
    """What tells whether a text is *pattern*, in which only `*` has a meaning. Takes time in proportion to both."""
    first, *others = pattern.split("*")
    if not others:
        return lambda text: text == first
    *middle, last = others

    def matches(text: str) -> bool:
        if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return matches


EVERYTHING: Final = Query("", 0.0)
"""What wants every line."""
