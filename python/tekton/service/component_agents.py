"""The agents that components are: which there are, and having them do tasks.

What is said between the two sides stands in `tekton.a2a.task_reports`. This side

* has what components offer in the registry of agents (`agent_offers`);
* gives notice of a task to an instance of the component: of several to one that follows from the task, so that after a
  restart of the control plane it is the same one; to another one when that cannot be reached;
* takes the reports of whoever works on it (`agent_attempts`), and waits for the end of the work. That is lost when
  nothing is heard for the time of a lease, or when the instance has ended.

A notice goes only where an address may be called, as a call of a tool does (`service.tools`). It says no more than the
number of a task. A component that asks who calls is shown a token for it alone, which permits nothing.
"""

import asyncio
import hashlib
import logging
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import msgspec

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.attempt import AGENT_LOST
from tekton.a2a.task_log import TaskLog
from tekton.a2a.task_reports import Heard, Notice, Report
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import Principal
from tekton.auth.roles import NO_GRANTS
from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ENDED, USABLE, Change, ComponentRecord
from tekton.gateway.errors import UnavailableError
from tekton.service.agent_attempts import Attempt
from tekton.service.agent_offers import AgentOffers
from tekton.service.callbacks import is_local, offering_ports, tool_policy
from tekton.service.caller_passes import CallerPasses, OnBehalf
from tekton.service.security import Security
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import (
    StaleLeaseError,
    StorageError,
    TaskFailedError,
    TaskNotFoundError,
    TransportError,
)
from tekton.utils.trace_context import CURRENT, TRACEPARENT

__all__ = ["ComponentAgents"]

BACKOFF: Final = (0.1, 3.0)
"""Seconds, the first and the longest, after which notice is given again to instances that could not be reached."""
NOTICE_TIMEOUT: Final = 5.0
AT_ONCE: Final = 256
_MOST_ANSWER: Final = 64 * 1024
_REMEMBERED: Final = 4096
_REFUSED: Final = 401
_JSON: Final = {"Content-Type": "application/json"}

_OURSELVES: Final = OnBehalf(Principal(subject="tekton", roles=(), via="credential", grants=NO_GRANTS), is_local=True)

_logger = logging.getLogger("tekton.agents")


@dataclass(slots=True)
class _Known:
    """Who has worked on a task lately: a component, and the name of the worker there; or who of it was *lost*.

    *orphan* is an attempt that nobody waits for any more, because we stop; what is reported is kept all the same.
    """

    component_id: str
    worker: str = ""
    lost: str = ""
    orphan: Attempt | None = None


class ComponentAgents:
    """See the module. It is the `RemoteAgents` of agents of components; *log* is where their tasks are.

    Follows what is offered from `start` to `stop`.
    """

    def __init__(
        self,
        components: ComponentRegistry,
        registry: AgentRegistry,
        security: Security,
        config: TektonConfig,
        log: TaskLog,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.lease: float = config.agent_lease
        """Seconds after which an agent is lost of which nothing was heard; of work that begins from now on."""
        self.refused = 0
        """How many reports came from somebody who had no say: too late, or a second time."""
        self._components = components
        self._registry = registry
        self._log = log
        self._clock = clock
        self._offers = AgentOffers(components, registry)
        self._passes = CallerPasses(security)
        self._trusts_machine = is_local(config)
        self._own_ports = {config.port, config.ops_port, config.metrics_port}
        policy = tool_policy(config, self._local_ports)
        self._http = GuardedHttp(policy, timeout=NOTICE_TIMEOUT, max_answer=_MOST_ANSWER, at_once=AT_ONCE)
        self._attempts: dict[str, Attempt] = {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._group = BackgroundGroup("agents of components")
        self._loads: Counter[str] = Counter()
        self._at_work: dict[str, list[str]] = {}
        self._ports: frozenset[int] | None = None
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to follow what is offered. Starting twice does nothing more."""
        if self._unlisten is None:
            self._offers.start()
            self._unlisten = self._components.feed.add_listener(self._on_change)

    async def stop(self) -> None:
        """Follow no more, and give no more notice. Whoever works goes on. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()
        self._offers.stop()
        await self._group.stop()
        await self._http.close()

    def keep_from(self, *ports: int) -> None:
        """*ports* of this machine are our own: no notice goes there."""
        self._own_ports.update(ports)
        self._ports = None

    def at_work(self, component_id: str) -> list[str]:
        """The agents of a component that were at work when it ended, until it is there again: one may be why."""
        return self._at_work.get(component_id, [])

    @property
    def working(self) -> int:
        """How many tasks agents of components work on."""
        return len(self._attempts)

    # Having a task done

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        """Have *agent* do the task of *context*; see `RemoteAgents`. Raises TaskFailedError, TaskRejectedError."""
        component_id = agent.component_id
        if component_id is None:
            raise TaskFailedError(context.task_id, "agent_unreachable", f"{agent.agent_id} is part of no component")
        attempt = Attempt(component_id, context, self._log, self.lease, self._clock)
        self._attempts[attempt.task_id] = attempt
        self._weigh(agent.agent_id, 1)
        attending = self._group.spawn(self._attend(attempt), f"task {attempt.task_id}")
        try:
            return await attempt.outcome()
        except TaskFailedError as error:
            if error.failed == AGENT_LOST:
                self._remember(attempt).lost = attempt.instance or ""
            raise
        except asyncio.CancelledError:
            attempt.is_orphan = True
            raise
        finally:
            attending.cancel()
            self._weigh(agent.agent_id, -1)
            if self._attempts.get(attempt.task_id) is attempt:
                del self._attempts[attempt.task_id]
            known = self._remember(attempt)
            known.orphan = attempt if attempt.is_orphan and self._is_open(attempt.task_id) else None
            # Whatever has ended it, the worker will hear of that when he asks.
            self._group.spawn(self._notify(attempt), f"end of task {attempt.task_id}")

    def component_of(self, task_id: str) -> str:
        """The component that works on a task, or has lately. Raises TaskNotFoundError."""
        if (attempt := self._attempts.get(task_id)) is not None:
            return attempt.component_id
        if (known := self._known.get(task_id)) is not None:
            return known.component_id
        lease = self._log.task(task_id).lease
        agent = None if lease is None else self._registry.find_agent(lease.agent_id)
        if agent is None or agent.component_id is None:
            raise TaskNotFoundError(task_id)
        return agent.component_id

    async def report(self, task_id: str, report: Report) -> Heard:
        """Take a report of the component that `component_of` says; see `Attempt.report`."""
        attempt = self._attempts.get(task_id) or self._orphan(task_id, report.epoch)
        try:
            if attempt is None:
                self._check_waited_for(task_id, report)
            else:
                return await attempt.report(report)
        except StaleLeaseError:
            self.refused += 1
            raise
        except UnavailableError:
            self._note(task_id, self.component_of(task_id)).worker = report.worker
            raise
        raise UnavailableError("nobody waits for the task yet")

    def _orphan(self, task_id: str, epoch: int) -> Attempt | None:
        known = self._known.get(task_id)
        orphan = None if known is None else known.orphan
        return orphan if orphan is not None and orphan.epoch == epoch else None

    def _check_waited_for(self, task_id: str, report: Report) -> None:
        """Nobody waits for the task here. Raises StaleLeaseError, unless somebody will: after a start, for instance."""
        task = self._log.task(task_id)
        if task.lease is None or task.lease.epoch != report.epoch:
            raise StaleLeaseError(task_id, report.epoch, task.epoch)

    # Giving notice

    async def _attend(self, attempt: Attempt) -> None:
        await self._announce(attempt)
        told = None
        while True:
            if attempt.asked != told and attempt.asked in attempt.task.steps:
                told = attempt.asked
                await self._notify(attempt)
            await attempt.changed()

    async def _announce(self, attempt: Attempt) -> None:
        """Have an instance of the component take the task."""
        if "aiohttp" not in sys.modules:
            await asyncio.to_thread(import_module, "aiohttp")  # it takes a third of a second
        failures = 0
        while True:
            for record in self._candidates(attempt):
                problem = await self._give_notice(record, attempt)
                if problem is None:
                    attempt.instance = record.instance_uuid
                    return
                if failures == 0:
                    _logger.warning("%s takes no task for %s: %s", record.endpoint, attempt.agent_id, problem)
            await asyncio.sleep(min(BACKOFF[1], BACKOFF[0] * 2.0**failures))
            failures = min(failures + 1, 16)

    async def _notify(self, attempt: Attempt) -> None:
        """Tell whoever has the task that there is something to hear about it."""
        if attempt.instance is None:
            return
        record = self._components.instance(attempt.component_id, attempt.instance)
        if record is not None and record.endpoint and record.state not in ENDED:
            await self._give_notice(record, attempt)

    async def _give_notice(self, record: ComponentRecord, attempt: Attempt) -> str | None:
        """Give notice to an instance, once; returns what is wrong if it does not take it."""
        url = f"{(record.endpoint or '').rstrip('/')}/api/agents/{attempt.agent_id}/tasks"
        body = msgspec.json.encode(Notice(attempt.task_id, attempt.epoch))
        try:
            status = await self._post(url, body, {})
            if status == _REFUSED:
                status = await self._post(url, body, await self._passes.headers(_OURSELVES, record.component_id))
        except TransportError as error:
            return str(error)
        return None if 200 <= status < 300 else f"the answer is {status}"

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        here = CURRENT.get()
        traced = {} if here is None else {TRACEPARENT: here.traceparent()}
        answer = await self._http.send("POST", url, body, {**_JSON, **traced, **headers}, NOTICE_TIMEOUT)
        return answer.status

    def _candidates(self, attempt: Attempt) -> list[ComponentRecord]:
        """The instances that may take a task, best first: who works on it, others, who was lost with it."""
        known = self._known.get(attempt.task_id) or _Known("")

        def merit(record: ComponentRecord) -> tuple[bool, bool, bytes]:
            name = record.instance_uuid
            weight = hashlib.blake2b(f"{attempt.task_id} {name}".encode(), digest_size=8).digest()
            return name != known.worker, name == known.lost, weight

        found = self._offers.instances(attempt.component_id, attempt.agent_id)
        usable = [record for record in found if record.endpoint and _may_take(record, known.worker)]
        return sorted(usable, key=merit)

    def _on_change(self, change: Change) -> None:
        self._ports = None
        gone = change.kind == "deregistered" or change.state in ENDED
        if gone or change.state in USABLE:
            self._at_work.pop(change.component_id, None)
        if not gone or not self._attempts:
            return
        lost = [one for one in self._attempts.values() if _is_in(one, change)]
        for attempt in lost:
            attempt.lose(
                f"its component {change.component_id} has ended" + (f": {change.reason}" * bool(change.reason))
            )
        if lost and change.kind != "deregistered":
            self._at_work[change.component_id] = sorted({one.agent_id for one in lost})

    def _local_ports(self) -> frozenset[int]:
        if self._ports is None:
            records = self._offers.records()
            self._ports = offering_ports(records, trusts_machine=self._trusts_machine, own=self._own_ports)
        return self._ports

    # Who is known

    def _remember(self, attempt: Attempt) -> _Known:
        known = self._note(attempt.task_id, attempt.component_id)
        known.worker = attempt.worker or known.worker
        return known

    def _is_open(self, task_id: str) -> bool:
        try:
            return not self._log.task(task_id).state.over
        except (TaskNotFoundError, StorageError):
            return False

    def _weigh(self, agent_id: str, more: int) -> None:
        """Have the agent that has less to do be asked before others."""
        self._loads[agent_id] += more
        load = self._loads[agent_id]
        if not load:
            del self._loads[agent_id]
        if agent_id in self._registry:
            self._registry.set_load(agent_id, load)

    def _note(self, task_id: str, component_id: str) -> _Known:
        known = self._known.get(task_id)
        if known is None or known.component_id != component_id:
            known = self._known[task_id] = _Known(component_id)
        self._known.move_to_end(task_id)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def _is_in(attempt: Attempt, change: Change) -> bool:
    return attempt.instance == change.instance_uuid and attempt.component_id == change.component_id


def _may_take(record: ComponentRecord, worker: str) -> bool:
    """An instance that takes no traffic gets no task, unless it works on that already."""
    return record.discoverable or (record.usable and record.instance_uuid == worker)
