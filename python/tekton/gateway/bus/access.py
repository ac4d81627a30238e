"""Who may publish and hear what, wherever he comes in: on a socket, for an event stream, with a request.

The rules are those of `tekton.auth.subjects`. Here they become errors, and each refusal is reported: who speaks as
somebody else, publishes for the control plane or listens at the door of others has a defect, or a purpose.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final, NamedTuple

from tekton._native import covers, overlaps
from tekton.auth.principal import Principal
from tekton.auth.roles import INBOX, RESERVED, names_requests
from tekton.auth.subjects import FEEDS, Hearing, OwnerOf, SubjectRights
from tekton.bus.envelope import Envelope
from tekton.gateway.errors import CredentialRequiredError, InvalidParameterError, PermissionDeniedError

PUBLISH: Final = "messages:publish"
READ: Final = "messages:read"
MANAGE: Final = "messages:manage"

_REMEMBERED: Final = 1024
_OF_ITS_OWN: Final = "a component publishes below its own id, and to <id>.requests.> of others; a role can permit more"
_OF_TEKTON: Final = "only Tekton itself speaks under tekton"
_TAKES_AWAY: Final = "what one takes, others do not get, so who may publish nothing may not take anything either"
_HEARS_NOTHING: Final = "who may hear nothing has no inbox"
_OF_ANOTHER: Final = "choose another name, or have a role name it under consume: <stream>/<consumer>"
_AS_COMPONENT: Final = (
    "who speaks for a component shows its credential: tekton run gives it one, else TEKTON_CREDENTIAL_FILE names it"
)


class Refusal(NamedTuple):
    """Somebody was not let do something on the bus."""

    principal: Principal
    address: str
    """`address:port`; empty for the Unix socket."""
    action: str
    """`message.publish`, `message.subscribe` or `message.consume`."""
    subject: str
    """The subject or the pattern that it was about."""
    reason: str


Report = Callable[[Refusal], None]


def _publishing(principal: Principal, subject: str) -> str:
    if subject.partition(".")[0] == RESERVED:
        return _OF_TEKTON
    return "" if principal.component_id is None else _OF_ITS_OWN


def _of_answers(rights: SubjectRights, reply: str) -> str:
    """Where else than to *reply* answers could go."""
    if reply.partition(".")[0] != INBOX:
        return ""
    return f"inboxes of one's own begin with {rights.inbox}." if rights.hears_answers else _HEARS_NOTHING


def _for_feeds(subjects: Iterable[str]) -> str:
    """What hearing *subjects* needs, where Tekton publishes them."""
    needed = {permission for one in subjects for feed, permission in FEEDS.items() if covers(feed, one)}
    return f"that needs {', '.join(sorted(needed))}" if needed else ""


def _not_told(_: Refusal) -> None:
    pass


class Caller(NamedTuple):
    """Somebody who uses the bus, and what he may."""

    principal: Principal
    rights: SubjectRights
    address: str


def _check_taken(caller: Caller, stream: str, subjects: Iterable[str], parameter: str, pattern: str) -> None:
    """Raise InvalidParameterError when the *stream* takes nothing of *pattern*: then nothing is forbidden.

    Who may not read the stream at all is not told what it takes.
    """
    if not any(overlaps(taken, pattern) for taken in subjects) and caller.rights.may_read(subjects) is not Hearing.NONE:
        problem = f"the stream {stream} takes {', '.join(subjects)}, nothing of {pattern}"
        raise InvalidParameterError(parameter, problem)


class BusAccess:
    """Lets callers do what they may, and tells *report* of what they may not."""

    def __init__(self, report: Report = _not_told, owner_of: OwnerOf | None = None) -> None:
        """*owner_of* says whose tasks are; without it nobody has any."""
        self.report: Final = report
        rights = SubjectRights if owner_of is None else partial(SubjectRights, owner_of=owner_of)
        self.rights_of: Callable[[Principal], SubjectRights] = lru_cache(_REMEMBERED)(rights)

    def caller(self, principal: Principal, address: str) -> Caller:
        """Who that is, for the checks."""
        return Caller(principal, self.rights_of(principal), address)

    def check_publish(self, caller: Caller, envelope: Envelope) -> None:
        """Raise when *caller* may not publish that: the subject, the sender, or where the answers are to go.

        Raises InvalidSubjectError, CredentialRequiredError or PermissionDeniedError.
        """
        rights, subject, reply = caller.rights, envelope.subject, envelope.reply
        if not rights.may_publish(subject):
            hint = _publishing(caller.principal, subject)
            raise self._refused(caller, "message.publish", subject, f"may not publish to {subject}", hint)
        sender = envelope.message.route[1]
        if not rights.speaks_as(sender):
            raise self._refused(
                caller, "message.publish", subject, f"speaks as {rights.sender}, not as {sender}", _AS_COMPONENT
            )
        # Answers go where he could say something himself: nobody is to be made to speak for him, nor into an inbox that
        # he does not hear.
        if reply is not None and not rights.may_name(reply):
            problem = f"may not have answers sent to {reply}"
            raise self._refused(caller, "message.publish", reply, problem, _of_answers(rights, reply))

    def check_subscribe(self, caller: Caller, pattern: str) -> Hearing:
        """How much of *pattern* the *caller* hears. Raises as `check_publish` when that is nothing."""
        hearing = caller.rights.may_subscribe(pattern)
        if hearing is Hearing.NONE:
            hint = _AS_COMPONENT if names_requests(pattern) else _for_feeds([pattern])
            raise self._refused(caller, "message.subscribe", pattern, f"may not listen to {pattern}", hint)
        return hearing

    def check_share(self, caller: Caller, pattern: str) -> None:
        """Raise unless *caller* may publish something: what a member of a queue group gets, the others do not."""
        if not caller.principal.grants.publish:
            problem = f"may listen to {pattern}, and not share it with others"
            raise self._refused(caller, "message.subscribe", pattern, problem, _TAKES_AWAY)

    def check_replay(self, caller: Caller, stream: str, subjects: Iterable[str], pattern: str) -> Hearing:
        """The same of a stream of *subjects*, which is never ALL: other subjects were its own before, or will be.

        Raises InvalidParameterError when it takes nothing of *pattern*.
        """
        if caller.rights.may_read(subjects, pattern) is Hearing.NONE:
            _check_taken(caller, stream, subjects, "subject", pattern)
            hint = _for_feeds(subjects)
            raise self._refused(caller, "message.subscribe", pattern, f"may not read the stream {stream}", hint)
        return Hearing.SOME

    def check_consume(self, caller: Caller, stream: str, subjects: Iterable[str], pattern: str) -> None:
        """Raise unless *caller* may hear all of it, and publish something: what one consumes, others do not get.

        Raises InvalidParameterError when the stream takes nothing of *pattern*.
        """
        if not caller.principal.grants.publish:
            problem = f"may read the stream {stream}, and not consume it"
            raise self._refused(caller, "message.consume", pattern, problem, _TAKES_AWAY)
        if caller.rights.may_read(subjects, pattern) is not Hearing.ALL:
            _check_taken(caller, stream, subjects, "filter", pattern)
            raise self._refused(caller, "message.consume", pattern, f"may not consume the stream {stream}")

    def owner(self, caller: Caller) -> str:
        """To whom a consumer belongs that *caller* makes; what they make who manage streams is everybody's."""
        return "" if MANAGE in caller.principal.grants.everywhere else caller.rights.sender

    def check_shared(self, caller: Caller, stream: str, consumer: str, owner: str) -> None:
        """Raise unless *caller* may work under the name of the *consumer*, which belongs to *owner*, if to somebody.

        A component always may under its own.
        """
        own = caller.rights.sender
        is_own = owner in ("", own) or (caller.principal.component_id is not None and consumer == own)
        if not is_own and not caller.principal.grants.shares(stream, consumer):
            problem = f"may not work as {consumer}, which belongs to {owner}"
            raise self._refused(caller, "message.consume", f"{stream}/{consumer}", problem, _OF_ANOTHER, needed=MANAGE)

    def check_handed(self, caller: Caller, stream: str, envelopes: Iterable[Envelope]) -> None:
        """Raise unless *caller* may hear, now, all *envelopes* that a consumer of *stream* is to hand to him."""
        hears = caller.rights.hears
        for envelope in envelopes:
            if not hears(envelope.subject):
                raise self._refused(caller, "message.consume", envelope.subject, f"may not consume the stream {stream}")

    def _refused(
        self, caller: Caller, action: str, subject: str, problem: str, hint: str = "", *, needed: str = ""
    ) -> Exception:
        principal = caller.principal
        self.report(Refusal(principal, caller.address, action, subject, problem))
        if principal.via == "none":
            return CredentialRequiredError(f"this needs a valid credential: {principal.subject} {problem}")
        permission = needed or (PUBLISH if action == "message.publish" else READ)
        error = PermissionDeniedError(permission, f"{principal.subject} {problem}")
        error.hint = hint or error.hint
        return error
