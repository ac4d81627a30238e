"""Which stream takes what, and what a stream or a consumer may be told to take."""

from collections.abc import Iterable

from tekton._native import SubjectTable, is_valid_pattern
from tekton.bus.bus import INBOX, REQUESTS, RESERVED, ConsumerSettings, StreamSettings, at_least
from tekton.bus.interest import is_request, is_wild, share_subjects
from tekton.utils.tekton_errors import InvalidSubjectError, StreamOverlapError

_RESERVED = (f"{RESERVED}.", f"{INBOX}.")
_REQUESTS = f".{REQUESTS}."


class StreamSubjects:
    """The subjects of streams, no two of which have one in common.

    As in subscriptions, a pattern that begins with a wildcard does not take what begins with a reserved token, and one
    that is not about requests takes none.
    """

    def __init__(self) -> None:
        self._all = SubjectTable()
        self._named = SubjectTable()
        self._asked = SubjectTable()
        self._names: list[str] = []
        self._patterns: dict[str, tuple[int, tuple[str, ...]]] = {}

    def stream_of(self, subject: str) -> str | None:
        """The stream that takes *subject*."""
        if subject.startswith(_RESERVED):
            table = self._named
        else:
            table = self._asked if _REQUESTS in subject and is_request(subject) else self._all
        found = table.match(subject)
        return self._names[found[0]] if found else None

    def check(self, name: str, patterns: Iterable[str]) -> None:
        """Raise StreamOverlapError if the stream *name* cannot have *patterns*, which are valid."""
        for pattern in patterns:
            for other, (_, theirs) in self._patterns.items():
                if other != name and any(share_subjects(pattern, one) for one in theirs):
                    raise StreamOverlapError(name, other, pattern)

    def add(self, name: str, patterns: tuple[str, ...]) -> None:
        """Let *name* take *patterns*, and nothing else."""
        if name in self._patterns:
            self.remove(name)
        number = len(self._names)
        self._names.append(name)
        self._patterns[name] = number, patterns
        for pattern in patterns:
            self._all.add(pattern, number)
            if not is_wild(pattern):
                self._named.add(pattern, number)
            if is_request(pattern):
                self._asked.add(pattern, number)

    def remove(self, name: str) -> None:
        """Let *name* take nothing."""
        number, patterns = self._patterns.pop(name)
        for pattern in patterns:
            self._all.remove(pattern, number)
            self._named.remove(pattern, number)
            self._asked.remove(pattern, number)


def check_pattern(pattern: str) -> None:
    """Raise InvalidSubjectError for what is no pattern."""
    if not is_valid_pattern(pattern):
        raise InvalidSubjectError(pattern, "is no pattern")


def check_stream(settings: StreamSettings) -> None:
    """Raise InvalidSubjectError, or ValueError for a number that cannot be."""
    for pattern in settings.subjects:
        check_pattern(pattern)
    if not settings.subjects:
        raise ValueError("a stream takes one subject at least")
    at_least("max_messages", settings.max_messages, 1)
    at_least("max_bytes", settings.max_bytes, 1)
    at_least("max_age", settings.max_age, 0)
    at_least("dedupe_window", settings.dedupe_window, 0)


def check_consumer(settings: ConsumerSettings) -> None:
    """Raise InvalidSubjectError. Numbers that cannot be are in no settings."""
    check_pattern(settings.filter)
