"""The cards of agents that are somewhere else, as they are now, and what follows from them for the registry of agents.

Rules:

* A card is fetched when its agent is registered, or first called, and again when it has grown old, as its
  `Cache-Control` says, within limits. The moment is drawn, so that many agents are not asked together.
* What a card says anew holds at once: the agent is replaced in the registry, which tells its listeners.
* An agent whose card is gone, too large, somewhere else, pointing inside or no card is not usable, and the registry
  says why. It stays registered, and is usable again when its card is.
* A card that cannot be reached is another matter: the agent is impaired, and not usable after `STRIKES` times.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final

from tekton.a2a.agent import Agent, AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.background import BackgroundTask
from tekton.utils.guarded_http import RefusedUrlError
from tekton.utils.remote_agents.card import AgentCard, BadCardError
from tekton.utils.remote_agents.card_source import FetchedCard
from tekton.utils.remote_agents.credential import Credential
from tekton.utils.remote_agents.registration import RemoteAgent
from tekton.utils.tekton_errors import AgentUnreachableError, InvalidAgentError, TektonError, TransportError

__all__ = ["AgentCards"]

STRIKES: Final = 3
"""So often in a row a card cannot be reached before its agent is not usable."""
SHORTEST: Final = 30.0
USUAL: Final = 300.0
LONGEST: Final = 3600.0
"""Seconds for which a card is believed."""
SOON: Final = (5.0, 30.0)
"""Seconds within which the card of an agent is fetched that was registered without."""
AT_ONCE: Final = 32
"""Cards that are fetched at the same time."""
RETRY: Final = (1.0, 60.0)
"""Seconds until a card that was not got is fetched again: the first time, and at most."""

_logger = logging.getLogger("tekton.agents")

Fetch = Callable[[str, str, Credential | None], Awaitable[FetchedCard]]
"""Fetches the card of the agent at a URL, if it is not that of an ETag. Raises BadCardError, TransportError."""


@dataclass(slots=True, eq=False)
class _Known:
    said: RemoteAgent
    credential: Credential | None = None
    card: AgentCard | None = None
    etag: str = ""
    due: float = math.inf
    failures: int = 0
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class AgentCards:
    """Follows the cards of agents in *registry*, from `start` to `stop`. *fetch* gets them."""

    def __init__(self, registry: AgentRegistry, fetch: Fetch, *, rng: random.Random | None = None) -> None:
        self._registry = registry
        self._fetch = fetch
        self._rng = rng or random.Random()
        self._known: dict[str, _Known] = {}
        self._queue: list[tuple[float, str]] = []
        self._turned = asyncio.Event()
        self._follower = BackgroundTask("agent-cards")

    def start(self) -> None:
        """Begin to fetch cards anew as they grow old. Starting twice does nothing more."""
        if not self._follower.running:
            self._follower.start(self._follow())

    async def stop(self) -> None:
        """Fetch no more by itself."""
        await self._follower.stop()

    async def register(self, said: RemoteAgent, credential: Credential | None = None) -> Agent:
        """Fetch the card of an agent, and register it, or another in its place; returns it.

        Raises InvalidIdError, InvalidAgentError, also for a card that is not accepted, and AgentUnreachableError when
        there is no way to it. Then nothing has changed.
        """
        fetched = await self._fetched(said, credential)
        agent = self._registry.add(said.described_by(fetched.card), replace=True)
        known = self._known[said.agent_id] = _Known(said, credential)
        self._take(known, fetched)
        return agent

    async def look_up(self, said: RemoteAgent, credential: Credential | None = None) -> AgentCard:
        """The card of an agent, fetched now; nobody is registered. Raises as `register`."""
        fetched = await self._fetched(said, credential)
        if fetched.card is None:
            raise InvalidAgentError(said.agent_id, "/url", "its card is not accepted: there is none")
        return fetched.card

    def restore(self, said: RemoteAgent, last: Agent | None = None, credential: Credential | None = None) -> Agent:
        """Register an agent as it was when it was known *last*; its card is fetched soon. Raises as `described_by`.

        To be called on the event loop.
        """
        agent = self._registry.add(last or said.described_by(None), replace=True)
        known = self._known[said.agent_id] = _Known(said, credential)
        self._registry.mark(said.agent_id, AgentHealth.USABLE)
        self._plan_at(known, self._rng.uniform(*SOON))
        return agent

    def forget(self, agent_id: str) -> None:
        """Follow the card of an agent no more."""
        self._known.pop(agent_id, None)

    def credential(self, agent_id: str) -> Credential | None:
        """What lets us in at an agent."""
        known = self._known.get(agent_id)
        return None if known is None else known.credential

    def trust(self, agent_id: str, credential: Credential | None) -> None:
        """From now on *credential* lets us in at an agent that is followed."""
        if (known := self._known.get(agent_id)) is not None:
            known.credential = credential

    async def card(self, agent: Agent) -> AgentCard:
        """The card of an agent of the registry. Raises AgentUnreachableError, which says what is wrong with it."""
        known = self._known.get(agent.agent_id)
        if known is None or known.said.url != agent.endpoint:
            known = self._known[agent.agent_id] = _Known(RemoteAgent.of(agent))
        async with known.fetching:
            if known.card is None:
                await self._refresh(known)
        if known.card is None:
            raise AgentUnreachableError(agent.agent_id, self._registry.reason(agent.agent_id))
        return known.card

    async def refresh(self, agent_id: str) -> None:
        """Fetch the card of an agent now, if it is followed."""
        known = self._known.get(agent_id)
        if known is not None:
            async with known.fetching:
                await self._refresh(known)

    async def _fetched(self, said: RemoteAgent, credential: Credential | None) -> FetchedCard:
        said.described_by(None)
        try:
            return await self._fetch(said.url, "", credential)
        except BadCardError as error:
            refused = InvalidAgentError(said.agent_id, "/url", f"its card is not accepted: {error}")
            if isinstance(error.__cause__, RefusedUrlError):
                refused.hint = "tekton.security.callback_networks opens networks to such requests"
            raise refused from None
        except TransportError as error:
            raise AgentUnreachableError(said.agent_id, f"its card cannot be fetched: {error}") from None

    async def _follow(self) -> None:
        fetching: set[str] = set()

        async def fetch(agent_id: str) -> None:
            try:
                await self.refresh(agent_id)
            finally:
                fetching.discard(agent_id)
                self._turned.set()

        async with asyncio.TaskGroup() as group:
            while True:
                self._turned.clear()
                while len(fetching) < AT_ONCE and (agent_id := self._ripe()) is not None:
                    fetching.add(agent_id)
                    group.create_task(fetch(agent_id))
                due = self._queue[0][0] if self._queue and len(fetching) < AT_ONCE else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._turned.wait()

    def _ripe(self) -> str | None:
        """An agent whose card is due now; it is not due again before it is planned anew. O(log agents)."""
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now:
            due, agent_id = heappop(self._queue)
            known = self._known.get(agent_id)
            if known is not None and known.due == due:  # else it was forgotten, or planned anew
                known.due = math.inf
                return agent_id
        return None

    async def _refresh(self, known: _Known) -> None:
        if not self._follows(known):
            return
        trouble: BadCardError | TektonError
        try:
            fetched = await self._fetch(known.said.url, known.etag, known.credential)
            agent = None if fetched.card is None else known.said.described_by(fetched.card)
        except InvalidAgentError as error:
            trouble = BadCardError(error.problem)
        except (BadCardError, TektonError) as error:
            trouble = error
        else:
            if self._follows(known):
                self._adopt(known, agent)
                self._take(known, fetched)
            return
        if self._follows(known):
            self._complain(known, trouble)

    def _follows(self, known: _Known) -> bool:
        """True while it is the agent that the registry has; forgets it else."""
        agent_id = known.said.agent_id
        if self._known.get(agent_id) is not known:
            return False
        agent = self._registry.find_agent(agent_id)
        if agent is None or agent.endpoint != known.said.url:
            del self._known[agent_id]
            return False
        return True

    def _adopt(self, known: _Known, agent: Agent | None) -> None:
        there = self._registry.find_agent(known.said.agent_id)
        if agent is not None and there is not None and agent.describe() != replace(there, component_id=None).describe():
            _logger.info("the card of agent %s has changed", agent.agent_id)
            kept = replace(agent, handler=there.handler, component_id=there.component_id)
            self._registry.add(kept, replace=True)

    def _take(self, known: _Known, fetched: FetchedCard) -> None:
        if fetched.card is not None:
            known.card, known.etag = fetched.card, fetched.etag
        if known.failures:
            _logger.info("the card of agent %s is there again", known.said.agent_id)
        known.failures = 0
        self._registry.mark(known.said.agent_id, AgentHealth.USABLE)
        age = USUAL if fetched.max_age is None else fetched.max_age
        self._plan(known, min(max(age, SHORTEST), LONGEST))

    def _complain(self, known: _Known, error: BadCardError | TektonError) -> None:
        known.failures += 1
        reason = f"its card is not accepted: {error}"
        health = AgentHealth.UNUSABLE
        if isinstance(error, BadCardError):
            known.card, known.etag = None, ""
        else:
            reason = f"its card cannot be fetched: {error}"
            health = AgentHealth.IMPAIRED if known.failures < STRIKES else AgentHealth.UNUSABLE
        if known.failures == 1:
            _logger.warning("agent %s: %s", known.said.agent_id, reason)
        self._registry.mark(known.said.agent_id, health, reason)
        self._plan(known, min(RETRY[1], RETRY[0] * 2 ** min(known.failures - 1, 16)))

    def _plan(self, known: _Known, seconds: float) -> None:
        """Fetch its card in about so many *seconds*."""
        self._plan_at(known, seconds * self._rng.uniform(0.75, 1.0))

    def _plan_at(self, known: _Known, seconds: float) -> None:
        known.due = asyncio.get_running_loop().time() + seconds
        heappush(self._queue, (known.due, known.said.agent_id))
        self._turned.set()
