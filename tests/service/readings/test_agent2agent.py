"""What is read of remote agents and of webhooks."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tekton.a2a.agent_registry import AgentRegistry
from tekton.service.readings.agent2agent import pushes, remote_agents
from tekton.testing.clock import ManualClock
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.remote_agents import RemoteAgents
from tekton.utils.tekton_errors import TransportError

Read = Callable[..., Any]


def test_remote_agents_are_counted_by_their_breakers_and_one_that_opens_is_in_the_log(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tekton.agents")
    clock = ManualClock()
    remote = RemoteAgents(AgentRegistry(), clock=clock)
    for agent_id, failed in (("sound", False), ("bad", True), ("worse", True)):
        for _ in range(5):
            permit = remote.breaker(agent_id).acquire()
            permit.failed(TransportError("https://agents.example", "refused")) if failed else permit.succeeded()
    clock.advance(3600.0)
    remote.breaker("worse").acquire()

    counted = read(partial(remote_agents, remote), "tekton_remote_agent_breakers")

    assert counted == {("closed",): 1, ("open",): 1, ("half_open",): 1}
    assert [record.getMessage().partition(", the last one")[0] for record in caplog.records] == [
        "agent bad is not asked for now: 5 failures in a row",
        "agent worse is not asked for now: 5 failures in a row",
    ]


async def test_an_agent_that_is_asked_again_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tekton.agents")
    clock = ManualClock()
    breaker = RemoteAgents(AgentRegistry(), clock=clock).breaker("bad")
    for _ in range(5):
        breaker.acquire().failed(TransportError("https://agents.example", "refused"))
    while breaker.state.value != "closed":
        clock.advance(60.0)
        breaker.acquire().succeeded()

    assert caplog.records[-1].getMessage() == "agent bad is asked again"
    assert len(caplog.records) == 2


async def test_what_webhooks_were_told_is_read(read: Read) -> None:
    async with InMemoryControlPlane() as plane:
        delivery = plane.a2a.pushes
        delivery.delivered, delivery.failed, delivery.dropped = 5, 3, 1

        reader = partial(pushes, delivery)

        assert read(reader, "tekton_push_deliveries") == {("delivered",): 5, ("failed",): 3}
        assert (read(reader, "tekton_push_waiting"), read(reader, "tekton_push_given_up")) == (0, 1)
