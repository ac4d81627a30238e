"""A component's place in its control plane: registered there, able to find the others, and told whom to believe.

There may be no control plane, or it may be away. Then nobody is told what is said here, and nothing fails.
"""

from collections.abc import Awaitable, Callable, Mapping

from tekton.background import BackgroundTask
from tekton.bus.bus import Bus
from tekton.clock import Clock
from tekton.component.auth import Callers
from tekton.core.lifecycle import ComponentRegistration
from tekton.utils.bus_client import BusClient
from tekton.utils.call_tokens import CallTokens
from tekton.utils.component_client import CallHook, ControlPlane, Discovery
from tekton.utils.remote_auth import RemoteAuth
from tekton.utils.tekton_registration import Registration


class Membership:
    """See the module: from `open` to `close`, and again. *bus* is used instead of that of the control plane."""

    def __init__(self, component_id: str, *, bus: Bus | None, call_hook: CallHook | None, clock: Clock) -> None:
        self.discovery: Discovery | None = None
        """How the component finds and calls others, while it is registered."""
        self._given = bus
        self._call_hook = call_hook
        self._clock = clock
        self._plane: ControlPlane | None = None
        self._client: BusClient | None = None
        self._presence: Registration | None = None
        self._remote: RemoteAuth | None = None
        self._reviewing = BackgroundTask(f"callers of {component_id}")

    @property
    def bus(self) -> Bus | None:
        """The bus that was given, else that of the control plane; None without either."""
        if self._given is not None:
            return self._given
        if self._client is None and self._plane is not None:
            self._client = BusClient(self._plane, clock=self._clock)
        return self._client

    @property
    def registered(self) -> bool:
        """True from `register` to the end."""
        return self._presence is not None

    @property
    def registering(self) -> bool:
        """True while the first attempt to register has not ended."""
        return self._presence is not None and not self._presence.tried

    def open(
        self, plane: ControlPlane, component_id: str, callers: Callers, *, at_once: bool, changed: Callable[[], None]
    ) -> None:
        """Have *callers* accept the tokens of *plane*. It is asked when the first one is shown, or *at_once*.

        *changed* is called when others are to be believed than before.
        """
        self._plane = plane
        self._remote = callers.remote = RemoteAuth(plane, component_id, clock=self._clock)
        if at_once:
            self._remote.start()
        self._reviewing.start(_review(self._remote, changed))

    def register(
        self,
        registration: ComponentRegistration,
        plane: ControlPlane,
        callers: Callers,
        *,
        supervised: bool,
        metrics: Callable[[], Mapping[str, float]],
        before_report: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin to register with *plane*, and find others there. What *callers* have shown is shown to nobody else."""
        tokens = CallTokens(plane, registration.component_id)
        self.discovery = Discovery(plane, hook=self._call_hook, tokens=tokens, withheld=callers.has_seen)
        self.discovery.open()
        self._presence = Registration(
            registration, plane, supervised=supervised, metrics=metrics, before_report=before_report
        )
        self._presence.start()

    def mark_ready(self) -> None:
        """The component is ready."""
        if self._presence is not None:
            self._presence.mark_ready()

    def set_serving(self, serving: bool, reason: str) -> None:
        """Whether it takes requests, and why not."""
        if self._presence is not None:
            self._presence.set_serving(serving, reason)

    def complain(self, reason: str) -> None:
        """What keeps it from its work; an empty text when nothing does any more."""
        if self._presence is not None:
            self._presence.set_impaired(reason)

    async def leave(self, failure: str | None) -> None:
        """Say that the component ends, and of which *failure*."""
        if self._presence is not None:
            await self._presence.leave(failure)

    async def abandon(self) -> None:
        """Say nothing any more, as if killed."""
        presence, self._presence = self._presence, None
        if presence is not None:
            await presence.abandon()

    async def withdraw(self) -> None:
        """Stay registered no longer."""
        presence, self._presence = self._presence, None
        if presence is not None:
            await presence.close()

    async def close(self) -> None:
        """End the rest. Closing twice does nothing."""
        self._plane = None
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        discovery, self.discovery = self.discovery, None
        if discovery is not None:
            await discovery.stop()
        await self._reviewing.stop()
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.stop()


async def _review(remote: RemoteAuth, changed: Callable[[], None]) -> None:
    while True:
        await remote.wait_changed()
        changed()
