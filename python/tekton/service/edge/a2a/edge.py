"""Agent2Agent 1.0, served by the control plane: what it consists of, and its routes.

    POST /a2a                                    JSON-RPC, to the whole system
         /a2a/rest/…                             HTTP+JSON
    POST /a2a/agents/{agent_id}                  the same, to one agent
         /a2a/agents/{agent_id}/rest/…           (all of these also with a slash behind them)
    GET  /.well-known/agent-card.json            what there is to be asked, for everybody
    GET  /a2a/agents/{agent_id}/.well-known/agent-card.json
    GET  /a2a/jwks.json                          the keys that have signed cards, for everybody

These routes are not in the OpenAPI document: what they take and give is in that of the protocol.
"""

import re
from collections.abc import Iterator
from typing import Final

from tekton.a2a.task import TaskState
from tekton.a2a.task_manager import TaskQuery
from tekton.auth.keys import KeyRing
from tekton.auth.principal import NOBODY, Principal
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.auth import AccessPolicy
from tekton.gateway.errors import CredentialRequiredError, RateLimitedError
from tekton.gateway.request import Request, Response
from tekton.gateway.router import PUBLIC, Route
from tekton.service.agents import Agents
from tekton.service.callbacks import callback_policy
from tekton.service.conversations import Conversations
from tekton.service.edge.a2a.binding import MAX_BODY, AnyQuery
from tekton.service.edge.a2a.card_signer import KEYS_PATH, CardSigner
from tekton.service.edge.a2a.cards import MAX_AGE, ROOT, WELL_KNOWN, Cards, Sent, is_known
from tekton.service.edge.a2a.contexts import Contexts
from tekton.service.edge.a2a.errors import rest_answer, rpc_answer
from tekton.service.edge.a2a.operations import Operations
from tekton.service.edge.a2a.push import Pushes
from tekton.service.edge.a2a.push_delivery import AT_ONCE, PushDelivery
from tekton.service.edge.a2a.rest import ENDPOINTS, HttpJson
from tekton.service.edge.a2a.rpc import JsonRpc
from tekton.service.edge.a2a.wire import encode
from tekton.service.open_tasks import WHOLE
from tekton.service.tasks import Tasks
from tekton.service.work import Work
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.tekton_config import TektonConfig

RUN: Final = "tasks:run"
SEE: Final = "agents:read"
_ONE: Final = f"{ROOT}/agents/{{agent_id}}"
_RPC: Final = re.compile(rf"{ROOT}(?:/agents/[^/]*)?/?")
_MEDIA_TYPES: Final = ("application/json", "application/a2a+json")
_WAITING: Final = frozenset(state for state in TaskState if state.waiting)
_PAGE: Final = 100


class A2aEdge:
    """See the module. Where webhooks may be, *config* and *components* say (`service.callbacks`).

    Its cards are signed by the keys of *card_ring*; without one they are not.
    It says what tasks say, and tells webhooks of them, from `start` to `stop`.
    """

    prefix: Final = ROOT
    """It answers with errors of its own below that: see `tekton.gateway.dialects`."""

    def __init__(
        self,
        tasks: Tasks,
        agents: Agents,
        conversations: Conversations,
        work: Work,
        access: AccessPolicy,
        *,
        components: ComponentRegistry,
        config: TektonConfig,
        card_ring: KeyRing | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._tasks = tasks
        self._agents = agents
        self._work = work
        self._access = access
        self._own_ports = {port for port in (config.ops_port, config.metrics_port) if port is not None}
        self._http = GuardedHttp(callback_policy(config, components, self._own_ports), at_once=AT_ONCE)
        self._contexts = Contexts(conversations, work.conversations, agents.registry, self._has_tasks)
        self._signer = CardSigner(card_ring, clock)
        self._cards = Cards(agents.registry, self._signer, mutual_tls=config.tls_client_ca is not None)
        self.pushes: Final = PushDelivery(tasks, work, self._http.send, clock)
        pushes = Pushes(work, self._http.check, self.pushes.added)
        operations = Operations(tasks, agents, self._contexts, pushes, cards=self._cards, clock=clock)
        self._rpc = JsonRpc(operations, agents.registry)
        self._rest = HttpJson(operations, agents.registry)
        tasks.manager.listen(self._contexts.follow)
        tasks.manager.on_forgotten(self._contexts.forgotten)

    def keep_from(self, *ports: int) -> None:
        """*ports* of this machine are our own: no webhook is there."""
        self._own_ports.update(ports)

    def start(self) -> None:
        """Have said what was not, and deliver what was not. Starting twice does nothing."""
        if self._work.usable:
            query, before = TaskQuery(states=_WAITING), ""
            while page := self._tasks.manager.find(query, before, _PAGE):
                for task in page:
                    self._contexts.catch_up(task)
                before = page[-1].task_id
            self.pushes.start()

    async def stop(self) -> None:
        """Deliver nothing any more. Stopping twice does nothing."""
        await self.pushes.stop()
        await self._http.close()

    def refuse(self, path: str, error: Exception) -> Response:
        """The answer to a request for *path* that has failed with *error*: see `tekton.gateway.dialects`."""
        return rpc_answer(error) if _RPC.fullmatch(path) else rest_answer(error)

    def routes(self) -> list[Route]:
        """All routes of the protocol."""
        return [
            Route("GET", WELL_KNOWN, self._root_card, "The agent card of the system", PUBLIC, query=AnyQuery),
            Route("GET", f"{_ONE}{WELL_KNOWN}", self._agent_card, "The card of an agent", SEE, query=AnyQuery),
            Route("GET", KEYS_PATH, self._keys, "The keys that have signed cards", PUBLIC, query=AnyQuery),
            *self._spoken_to(ROOT, "all agents"),
            *self._spoken_to(_ONE, "one agent"),
        ]

    def _spoken_to(self, path: str, whom: str) -> Iterator[Route]:
        yield Route(
            "POST",
            path,
            self._rpc.answer,
            f"Agent2Agent over JSON-RPC, to {whom}",
            RUN,
            query=AnyQuery,
            raw=_MEDIA_TYPES,
            max_body=MAX_BODY,
            slash=True,
        )
        for endpoint in ENDPOINTS:
            yield Route(
                endpoint.method,
                f"{path}/rest{endpoint.path}",
                self._rest.handler(endpoint),
                f"{' or '.join(endpoint.operations.values())}, to {whom}",
                endpoint.permission,
                query=AnyQuery,
                raw=_MEDIA_TYPES if endpoint.body else (),
                max_body=MAX_BODY,
                slash=True,
            )

    async def _root_card(self, request: Request) -> Response:
        shown = self._access.may(self._caller(request), SEE)
        return _answer(request, self._cards.root(request.origin, hidden=not shown), "public")

    async def _agent_card(self, request: Request) -> Response:
        agent = self._agents.registry.get_agent(request.params["agent_id"])
        return _answer(request, Sent.of(self._cards.of_agent(agent, request.origin)), "private")

    async def _keys(self, _: Request) -> Response:
        return Response(200, encode(self._signer.jwks()), [("cache-control", f"public, max-age={MAX_AGE}")])

    def _has_tasks(self, conversation_id: str) -> bool:
        return bool(self._tasks.manager.find(TaskQuery(conversation_id=conversation_id, parent_id=WHOLE), limit=1))

    def _caller(self, request: Request) -> Principal:
        """Who asks for what is open to everybody, whatever he shows."""
        try:
            return self._access.principal_of(request)
        except (CredentialRequiredError, RateLimitedError):
            return NOBODY


def _answer(request: Request, card: Sent, who: str) -> Response:
    headers = [("cache-control", f"{who}, max-age={MAX_AGE}"), ("etag", card.etag), ("vary", "authorization")]
    if is_known(request.headers.get("if-none-match"), card.etag):
        return Response(304, headers=headers)
    return Response(200, card.body, headers)
