"""Agents that are somewhere else: known by their card, asked over Agent2Agent 1.0. The `remote` of a `TaskManager`.

    async with RemoteAgents(agents) as remote:
        await remote.register(RemoteAgent("reviewer", "https://agents.example"))
        async with TaskManager(agents, remote=remote) as tasks:
            await tasks.execute_task(tasks.create_task("code_review", {"code": "…"}))

Needs the extra `a2a` (the official SDK, imported when an agent is called for the first time). Every URL that a stranger
has given, that of a card and those in it, is called through the guard of `guarded_http`, with the policy that is given:
by default only public addresses. Each agent has a circuit breaker, and a credential of its own, if it needs one.
"""

import asyncio
import importlib
import logging
import random
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task_steps import TaskContext
from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.degradation.breaker_states import BreakerState, Transition
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.utils.address_policy import AddressPolicy
from tekton.utils.guarded_http import GuardedHttp, Resolve
from tekton.utils.remote_agents.card import AgentCard
from tekton.utils.remote_agents.card_source import CardSource, Verify
from tekton.utils.remote_agents.card_verifier import CardVerifier
from tekton.utils.remote_agents.cards import AgentCards
from tekton.utils.remote_agents.credential import Credential
from tekton.utils.remote_agents.entry import how_to_get_in
from tekton.utils.remote_agents.limits import BREAKER, CallLimits
from tekton.utils.remote_agents.refusals import AgentRefusalError, NotLetInError, extra_missing
from tekton.utils.remote_agents.registration import RemoteAgent
from tekton.utils.remote_agents.remote_task import RemoteTask
from tekton.utils.tekton_errors import (
    CircuitOpenError,
    TaskNotFoundError,
    TektonError,
    TransportError,
)

if TYPE_CHECKING:
    import ssl

    from tekton.utils.remote_agents.a2a_client import A2AClient

__all__ = ["RemoteAgents"]

AT_ONCE: Final = 1024
"""Requests, streams among them, that are under way at the same time."""
_GOODBYE: Final = 5.0
"""Seconds that an agent has to take note that its task was called off."""

_logger = logging.getLogger("tekton.agents")


class RemoteAgents:
    """See the module. Follows cards from `start` to `stop`; as a context manager it does both.

    *card_keys* are public keys, PEM or JWK, by their id: with any, only cards that one of them has signed are accepted.
    *tls* replaces the usual certificates, *resolve* gives the addresses of a name.
    """

    def __init__(
        self,
        registry: AgentRegistry,
        *,
        policy: AddressPolicy | None = None,
        card_keys: Mapping[str, str] | None = None,
        limits: CallLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        resolve: Resolve | None = None,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._http = GuardedHttp(policy or AddressPolicy(), at_once=AT_ONCE, resolve=resolve, tls=tls)
        self._limits = limits or CallLimits()
        self._clock = clock
        self._rng = rng or random.Random()
        self._breakers: dict[str, CircuitBreaker] = {}
        self._goodbyes = BackgroundGroup("a2a-cancel")
        self.cards = AgentCards(registry, CardSource(self._http, _verifier(card_keys)), rng=self._rng)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to follow the cards of agents. Starting twice does nothing more."""
        self.cards.start()

    async def stop(self) -> None:
        """Follow no more, and close what is open. Tasks that agents work on stay theirs."""
        await self.cards.stop()
        await self._goodbyes.stop()
        await self._http.close()

    async def register(self, said: RemoteAgent, credential: Credential | None = None) -> Agent:
        """As `AgentCards.register`. Raises ConfigurationError without the extra, too."""
        await _sdk()
        self._breakers.pop(said.agent_id, None)
        return await self.cards.register(said, credential)

    async def look_up(self, said: RemoteAgent, credential: Credential | None = None) -> AgentCard:
        """As `AgentCards.look_up`. Raises ConfigurationError without the extra, too."""
        await _sdk()
        return await self.cards.look_up(said, credential)

    def restore(self, said: RemoteAgent, last: Agent, credential: Credential | None = None) -> Agent:
        """As `AgentCards.restore`."""
        self._breakers.pop(said.agent_id, None)
        return self.cards.restore(said, last, credential)

    def forget(self, agent_id: str) -> None:
        """An agent was unregistered."""
        self.cards.forget(agent_id)
        self._breakers.pop(agent_id, None)

    def breaker(self, agent_id: str) -> CircuitBreaker:
        """The circuit breaker of an agent."""
        breaker = self._breakers.get(agent_id)
        if breaker is None:
            breaker = CircuitBreaker(agent_id, BREAKER, self._clock, classify=_counts)
            breaker.listeners.add(_tell, direct=True)
            self._breakers[agent_id] = breaker
        return breaker

    def breakers(self) -> Iterable[CircuitBreaker]:
        """Those of the agents that were asked."""
        return self._breakers.values()

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        """Have *agent* do the task of *context*; returns its result.

        Raises AgentUnreachableError, CircuitOpenError, TransportError, TaskFailedError, TaskRejectedError, and what
        the context raises; ConfigurationError without the extra. When it is cancelled because the task is over, or
        was taken away from the agent, the agent is told so.
        """
        client_of = await _sdk()
        card = await self.cards.card(agent)
        async with client_of(self._http, card, self._headers(agent)) as client:
            remote = RemoteTask(
                client,
                context,
                streaming=card.streaming,
                breaker=self.breaker(agent.agent_id),
                limits=self._limits,
                rng=self._rng,
            )
            try:
                return await remote.run()
            except NotLetInError as error:
                advice = how_to_get_in(agent, card, self.cards.credential(agent.agent_id), error.url)
                raise TransportError(error.url, f"{error.reason}; {advice}") from error
            finally:
                await remote.close()
                if remote.open_id is not None:
                    self._goodbyes.spawn(self._say_goodbye(agent, card, context, remote.open_id), agent.agent_id)

    def _headers(self, agent: Agent) -> "_Credentials":
        return _Credentials(self.cards.credential(agent.agent_id), agent.endpoint or "")

    async def _say_goodbye(self, agent: Agent, card: AgentCard, context: TaskContext, task_id: str) -> None:
        """Call the task there off, unless somebody may go on with it, here or in another process."""
        if not _is_given_up(context):
            await asyncio.sleep(self._limits.settling)
            if not _is_given_up(context):
                return
        client_of = await _sdk()
        try:
            async with client_of(self._http, card, self._headers(agent)) as client:
                await client.cancel(task_id, _GOODBYE)
        except (AgentRefusalError, TransportError) as error:
            _logger.info("agent %s was not told that its task is called off: %s", agent.agent_id, error)


class _Credentials:
    """The headers that let us in at an agent *registered* at a URL."""

    def __init__(self, credential: Credential | None, registered: str) -> None:
        self._credential = credential
        self._registered = registered

    def __call__(self, url: str) -> dict[str, str]:
        return {} if self._credential is None else self._credential.headers(url, self._registered)


def _is_given_up(context: TaskContext) -> bool:
    """True when the task is over, or was taken away from its agent."""
    try:
        task = context.task
    except TaskNotFoundError:
        return True
    except TektonError:
        return False  # the log is closed: another process goes on
    return task.state.over or any(failure.agent_id == context.agent_id for failure in task.failures)


def _tell(change: Transition) -> None:
    """Say in the log that an agent is not asked for now, and that it is again."""
    if change.state is BreakerState.OPEN and change.previous is BreakerState.CLOSED:
        _logger.warning("agent %s is not asked for now: %s", change.breaker, change.reason)
    elif change.state is BreakerState.CLOSED:
        _logger.info("agent %s is asked again", change.breaker)


def _counts(error: BaseException) -> bool:
    """A refusal is an answer, and none against the agent."""
    return not isinstance(error, (AgentRefusalError, CircuitOpenError))


async def _sdk() -> "type[A2AClient]":
    """The client, with the SDK. Importing it takes half a second, in a thread."""
    try:
        module = await asyncio.to_thread(importlib.import_module, "tekton.utils.remote_agents.a2a_client")
    except ImportError as error:
        raise extra_missing(error) from None
    client: type[A2AClient] = module.A2AClient
    return client


def _verifier(card_keys: Mapping[str, str] | None) -> Verify | None:
    return CardVerifier(card_keys) if card_keys else None
