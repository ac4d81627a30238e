"""The bus of a control plane, as its port offers it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tekton.bus.bus import INBOX, SharedBus
from tekton.bus.envelope import Envelope
from tekton.clock import SYSTEM_CLOCK
from tekton.core.precedence import Precedence
from tekton.gateway.admission import Shares
from tekton.gateway.bus.access import BusAccess, Caller
from tekton.gateway.bus.beat import Beat
from tekton.gateway.bus.turns import Turns
from tekton.utils.tekton_errors import NoRespondersError

_PRIVATE: Final = f"{INBOX}."

MAX_PATTERNS: Final = 1000
"""How many subscriptions one principal may have, on all of his sockets and event streams together."""


@dataclass(frozen=True, slots=True)
class BusPort:
    """A *bus*, and what one has to know of it beside.

    *stream_of* names the stream that takes a subject, *position* is the sequence that the bus gave out last, and
    *answered* tells whether anybody listens to a subject.
    """

    bus: SharedBus
    stream_of: Callable[[str], str | None]
    position: Callable[[], int]
    answered: Callable[[str], bool]
    access: BusAccess = field(default_factory=BusAccess)
    patterns: Shares = field(default_factory=lambda: Shares(MAX_PATTERNS))
    """How many subscriptions each principal has, by its subject."""
    beat: Beat = field(default_factory=Beat)
    """When what sockets publish is stored."""
    turns: Turns = field(default_factory=lambda: Turns(Precedence(SYSTEM_CLOCK)))
    """When sockets may bring more."""

    def admit(self, caller: Caller, envelope: Envelope) -> None:
        """Raise when *caller* may not publish *envelope*, and NoRespondersError for a question that nobody would hear.

        A question is what is to be answered to a private inbox: see `Bus.request`.
        """
        self.access.check_publish(caller, envelope)
        if envelope.reply is not None and envelope.reply.startswith(_PRIVATE):
            self.check_answered(envelope.subject)

    def check_answered(self, subject: str) -> None:
        """Raise NoRespondersError when nobody listens to *subject*."""
        if not self.answered(subject):
            raise NoRespondersError(subject)
