"""Which subjects of the bus a principal may publish to, and which it may hear.

What roles grant (`Grants.publish`, `Grants.subscribe`) is laid in one table together with what nobody may, in ranks:
the strongest that matches decides, and even ranks permit.

    rank  publish                         hear
    0     answers: `_inbox.*.>`           the own inbox; feeds under `tekton`, each with its permission; of single
                                          components and own tasks, what is about these
    1     not `tekton.>`, not `_inbox`    not `tekton.>`, not `_inbox.>`
    2     what roles grant                the own `<id>.requests.>`, all with `auth:manage`; what a role names as such
    3                                     not `*.requests.>`
    4                                     what roles grant

Patterns stand for what the bus lets them hear: one that begins with a wildcard for nothing under `tekton` or `_inbox`,
and one without `requests` in the second place for no requests. Both have to be named.

Anybody may send an answer to any inbox: that he knows its name, which nobody can guess, shows that he was asked. Where
the answers to a message are to go, its author names an inbox of his own: of what comes to others he would never hear.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from tekton._native import SubjectTable, covers, is_valid_pattern
from tekton.auth.principal import Principal
from tekton.auth.roles import INBOX, REQUESTS, RESERVED, Grants, names_requests
from tekton.utils.tekton_errors import InvalidSubjectError

FEEDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tekton.components.>": "components:read",
        "tekton.logs.>": "logs:read",
        "tekton.metrics": "metrics:read",
        "tekton.resources": "metrics:read",
        "tekton.spans": "metrics:read",
        "tekton.dead.>": "messages:manage",
        "tekton.tasks.>": "tasks:manage",
    }
)
"""What the control plane publishes, and the permission that hearing it needs."""

_LOGS: Final = "tekton.logs."
_TASKS: Final = "tekton.tasks."
_INBOXES: Final = f"{INBOX}."
_OF_TEKTON: Final = f"{INBOX}.{RESERVED}"
_ANSWERS: Final = f"{INBOX}.*.>"
_REQUESTS: Final = f"*.{REQUESTS}.>"
_NEVER: Final = (RESERVED, f"{RESERVED}.>", INBOX, f"{INBOX}.>")
_CACHE: Final = 4096
_SENDER: Final = re.compile(r"[!#-\[\]-~]{1,255}")
_PLAIN: Final = re.compile(r"[a-z0-9_-]{1,128}")

Ranked = tuple[tuple[int, str], ...]

OwnerOf = Callable[[str], str | None]
"""To whom the task of an id belongs; None where there is no such task."""


def _nobody(_: str) -> str | None:
    return None


class Hearing(StrEnum):
    """How much a principal may hear of what matches a pattern."""

    ALL = "all"
    SOME = "some"
    """`hears` says which of the subjects."""
    NONE = "none"


class SubjectRights:
    """What one principal may publish to and hear. To be made anew when its grants change.

    O(patterns of its roles) to make, some microseconds; `may_publish` and `hears` are a look into a table.
    """

    def __init__(self, principal: Principal, owner_of: OwnerOf = _nobody) -> None:
        """*owner_of* says whose tasks are."""
        self.sender: Final = sender_of(principal)
        """Who it is in `context.sender`."""
        self.inbox: Final = f"{INBOX}.{owner_token(principal)}"
        """What its inboxes begin with."""
        self.hears_answers: Final = bool(principal.grants.subscribe) and self.inbox != _OF_TEKTON
        """Whether it hears what comes to its inboxes."""
        self._grants = principal.grants
        self._manages = principal.grants.allows("auth:manage")
        self._heard = _hearable(principal, self.inbox if self.hears_answers else "")
        self._publishing = _table(_publishable(principal.grants))
        self._hearing = _table(self._heard)
        # Which components a pattern of ids means can be said of each of them, and not by a pattern of subjects.
        self._owner_of = owner_of
        self._own_tasks = principal.grants.allows("tasks:run")
        self._some_logs = not principal.grants.allows("logs:read") and principal.grants.allows_some("logs:read")

    def speaks_as(self, sender: str | None) -> bool:
        """Whether a message may name *sender* as the one it is from. A replica speaks as its component.

        Who can make credentials for anybody speaks as any component: so does one that its author starts by hand, with
        the credential of the owner.
        """
        if sender == self.sender:
            return True
        return self._manages and sender is not None and sender != RESERVED and _PLAIN.fullmatch(sender) is not None

    def may_publish(self, subject: str) -> bool:
        """Whether it may publish to *subject*. Raises InvalidSubjectError."""
        return _permits(self._publishing, subject)

    def may_name(self, reply: str) -> bool:
        """Whether it may have answers sent to *reply*: an inbox of its own, or what it may publish to itself.

        Raises InvalidSubjectError.
        """
        if reply.startswith(_INBOXES) and not (self.hears_answers and reply.startswith(f"{self.inbox}.")):
            return False
        return self.may_publish(reply)

    def hears(self, subject: str) -> bool:
        """Whether it may hear what is published to *subject*. Raises InvalidSubjectError."""
        if _permits(self._hearing, subject):
            return True
        if self._own_tasks and subject.startswith(_TASKS):
            return self._owner_of(subject.removeprefix(_TASKS)) == self.sender
        return self._some_logs and subject.startswith(_LOGS) and self._reads_log(subject.removeprefix(_LOGS))

    def may_subscribe(self, pattern: str) -> Hearing:
        """How much it may hear of *pattern*. Raises InvalidSubjectError.

        NONE is exact; SOME may be said where it is all. O(patterns of its roles).
        """
        if not is_valid_pattern(pattern):
            raise InvalidSubjectError(pattern, "is no pattern of subjects")
        if not _is_wild(pattern):
            return Hearing.ALL if self.hears(pattern) else Hearing.NONE
        ranks = _ranks_about(pattern)
        ranked = tuple(one for one in self._heard if one[0] in ranks)
        if _all_heard(ranked, pattern):
            return Hearing.ALL
        if _some_heard(ranked, pattern) or self._hears_some(pattern):
            return Hearing.SOME
        return Hearing.NONE

    def may_read(self, subjects: Iterable[str], pattern: str = ">") -> Hearing:
        """How much it may hear of a stream of *subjects* (patterns) through the filter *pattern*.

        Raises InvalidSubjectError.
        """
        if not is_valid_pattern(pattern):
            raise InvalidSubjectError(pattern, "is no pattern of subjects")
        both = (_common(taken, pattern) for taken in subjects)
        found = {self.may_subscribe(one) for one in both if one is not None}
        return found.pop() if len(found) == 1 else Hearing.SOME if found else Hearing.NONE

    def _hears_some(self, pattern: str) -> bool:
        """Whether *pattern*, a wild one, is about logs or tasks of which some may be its own."""
        some = [feed for feed, has in ((_LOGS, self._some_logs), (_TASKS, self._own_tasks)) if has]
        return _is_reserved(pattern) and any(_common(pattern, f"{feed}>") is not None for feed in some)

    def _reads_log(self, name: str) -> bool:
        return self._grants.allows("logs:read", name)


def owner_token(principal: Principal) -> str:
    """The token of the subject of *principal*'s inboxes. Different principals have different ones.

    A component and its replicas share theirs, which is their id. Others have a `=` before their name, so that none is
    taken for a component, or a digest of it where it could be no token.
    """
    name = _speaker(principal)
    if principal.component_id is not None:
        return name
    return f"={name}" if _PLAIN.fullmatch(name) else f"=={sha256(name.encode(errors='surrogatepass')).hexdigest()}"


def sender_of(principal: Principal) -> str:
    """As whom it speaks, and owns things: its name where that can stand in a message, else what stands for it.

    A component and its replicas are one; so are all who have shown nothing.
    """
    name = _speaker(principal)
    return name if _SENDER.fullmatch(name) else owner_token(principal)


def _speaker(principal: Principal) -> str:
    return principal.subject if principal.component_id is None else principal.component_id.partition(".")[0]


def _publishable(grants: Grants) -> Ranked:
    if not grants.publish:
        return ()
    return ((0, _ANSWERS), *((1, one) for one in _NEVER), *((2, one) for one in sorted(grants.publish)))


def _hearable(principal: Principal, inbox: str) -> Ranked:
    grants = principal.grants
    feeds = [(0, subject) for subject, permission in FEEDS.items() if grants.allows(permission)]
    if not grants.subscribe:
        return (*feeds, *((1, one) for one in _NEVER))
    own = [(0, f"{inbox}.>")] if inbox else []
    granted = [(_rank(one), one) for one in sorted(grants.subscribe)]
    return (*feeds, *own, *((1, one) for one in _NEVER), *_doors(principal), (3, _REQUESTS), *granted)


def _doors(principal: Principal) -> Ranked:
    """The requests that it may hear because of what it is."""
    if principal.grants.allows("auth:manage"):
        return ((2, _REQUESTS),)
    return () if principal.component_id is None else ((2, f"{_speaker(principal)}.{REQUESTS}.>"),)


def _rank(pattern: str) -> int:
    """How strong a grant of *pattern* is: what is private has to be named, no wildcard means it."""
    if pattern.partition(".")[0] == RESERVED:
        return 0
    return 2 if names_requests(pattern) else 4


def _table(ranked: Ranked) -> SubjectTable:
    table = SubjectTable(_CACHE)
    for rank, pattern in ranked:
        table.add(pattern, rank)
    return table


def _permits(table: SubjectTable, subject: str) -> bool:
    try:
        found = table.match(subject)
    except ValueError as error:
        raise InvalidSubjectError(subject, f"is no subject: {str(error).rpartition(': ')[2]}") from None
    return bool(found) and not found[0] & 1


def _all_heard(ranked: Ranked, pattern: str) -> bool:
    """Whether a grant covers *pattern* from which nothing stronger takes anything away."""
    return any(covers(one, pattern) and not _is_spoiled(ranked, rank, pattern) for rank, one in ranked if not rank & 1)


def _is_spoiled(ranked: Ranked, below: int, pattern: str) -> bool:
    taken = [(rank, _common(one, pattern)) for rank, one in ranked if rank & 1 and rank < below]
    return any(lost is not None and not _is_covered(ranked, lost, range(0, rank, 2)) for rank, lost in taken)


def _some_heard(ranked: Ranked, pattern: str) -> bool:
    """Whether a grant has something in common with *pattern* that nothing stronger takes away as a whole."""
    # What is taken away are whole branches of the tree of subjects, so one of them alone has to cover it.
    common = [(rank, _common(one, pattern)) for rank, one in ranked if not rank & 1]
    return any(both is not None and not _is_covered(ranked, both, range(1, rank, 2)) for rank, both in common)


def _is_covered(ranked: Ranked, pattern: str, ranks: range) -> bool:
    return any(rank in ranks and covers(one, pattern) for rank, one in ranked)


def _common(one: str, other: str) -> str | None:
    """The pattern of the subjects that both match; None when there are none. O(tokens)."""
    first, second = one.split("."), other.split(".")
    common: list[str] = []
    for place, (left, right) in enumerate(zip(first, second, strict=False)):
        if left == ">":
            return ".".join([*common, *second[place:]])
        if right == ">":
            return ".".join([*common, *first[place:]])
        if left != right and "*" not in (left, right):
            return None
        common.append(right if left == "*" else left)
    return ".".join(common) if len(first) == len(second) else None


def _ranks_about(pattern: str) -> tuple[int, ...]:
    """The ranks that have to do with what *pattern* stands for."""
    if _is_reserved(pattern):
        return (0, 1)
    return (2, 3) if names_requests(pattern) else (4,)


def _is_reserved(pattern: str) -> bool:
    return pattern.partition(".")[0] in (RESERVED, INBOX)


def _is_wild(pattern: str) -> bool:
    return any(token in ("*", ">") for token in pattern.split("."))
