"""A task manager whose agents are somewhere else: on loopback, which only tests may call."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.utils.address_policy import AddressPolicy
from tekton.utils.remote_agents import CallLimits, Credential, RemoteAgent, RemoteAgents

HERE = AddressPolicy([ip_network("127.0.0.0/8")])
QUICK = CallLimits(answer=5.0, stream=20.0, patience=5.0, poll=(0.01, 0.05), settling=0.05)


@dataclass
class Here:
    """What there is on this side."""

    registry: AgentRegistry
    remote: RemoteAgents
    tasks: TaskManager


@asynccontextmanager
async def calling(
    url: str,
    *,
    limits: CallLimits = QUICK,
    log: MemoryTaskLog | None = None,
    credential: Credential | None = None,
    attempt_timeout: float | None = None,
    **changed: float,
) -> AsyncIterator[Here]:
    """A task manager that can ask the agent at *url* for `code_review`. *changed* are members of `CallLimits`."""
    registry = AgentRegistry()
    remote = RemoteAgents(registry, policy=HERE, limits=replace(limits, **changed), rng=random.Random(1))
    async with asyncio.timeout(30), remote:
        await remote.register(RemoteAgent("reviewer", url), credential)
        async with TaskManager(registry, remote=remote, log=log, attempt_timeout=attempt_timeout) as tasks:
            yield Here(registry, remote, tasks)
