"""What is read of the gateway: each refusal is counted where it belongs."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import NO_GRANTS
from tekton.gateway.admission import Admission, Limits
from tekton.gateway.errors import GatewayError
from tekton.gateway.load import Load
from tekton.gateway.logins import LoginThrottle
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sockets import TopicSocket
from tekton.gateway.topics import Conflated, Topic, TopicTable
from tekton.service.readings.gateway import refusals, subscriptions
from tekton.testing.clock import ManualClock

Read = Callable[..., Any]

ELSEWHERE = "192.0.2.7:5000"
FEW = Limits(rate=10, burst=3, requests=1, streams=1)


async def nothing(_: Request) -> None:
    return None


ROUTE = Route("GET", "/things", nothing, "")
LARGE = Route("POST", "/things", nothing, "", body=dict, max_body=16 * 2**20)


def by(subject: str = "ada", **headers: str) -> Request:
    principal = Principal(subject=subject, roles=(), via="token", grants=NO_GRANTS)
    return cast(Request, SimpleNamespace(principal=principal, client="127.0.0.1:1", headers=headers))


def too_often_from_one_address(admission: Admission) -> None:
    for _ in range(4):
        admission.arrive(ELSEWHERE)


def too_often_by_one(admission: Admission) -> None:
    for _ in range(4):
        admission.leave(admission.enter(by(), ROUTE))


def too_many_at_once(admission: Admission) -> None:
    for _ in range(2):
        admission.enter(by(), ROUTE)


def too_many_streams(admission: Admission) -> None:
    with admission.streaming(by()), admission.streaming(by()):
        pass


def bodies_that_are_too_large_together(admission: Admission) -> None:
    for name in ("ada", "bob"):
        admission.enter(by(name, **{"content-length": str(12 * 2**20)}), LARGE)


def a_look_under_load(admission: Admission) -> None:
    admission.load.pressure = 1.0
    admission.shed("look", ELSEWHERE)


def a_change_under_load(admission: Admission) -> None:
    admission.load.pressure = 2.0
    admission.shed("change", ELSEWHERE)


TABLE = [
    (too_often_from_one_address, "tekton_http_requests_limited", "address"),
    (too_often_by_one, "tekton_http_requests_limited", "principal"),
    (too_many_at_once, "tekton_http_requests_limited", "requests"),
    (too_many_streams, "tekton_http_requests_limited", "streams"),
    (bodies_that_are_too_large_together, "tekton_http_requests_shed", "bodies"),
    (a_look_under_load, "tekton_http_requests_shed", "look"),
    (a_change_under_load, "tekton_http_requests_shed", "change"),
]


@pytest.mark.parametrize(("act", "name", "label"), TABLE, ids=lambda value: getattr(value, "__name__", None))
def test_a_refusal_is_counted_once_and_under_its_reason_alone(
    read: Read, act: Callable[[Admission], None], name: str, label: str
) -> None:
    clock = ManualClock()
    admission = Admission(FEW, clock, Load(clock, lambda: 0.5))

    with pytest.raises(GatewayError):
        act(admission)

    for metric in ("tekton_http_requests_limited", "tekton_http_requests_shed"):
        counts = read(partial(refusals, admission), metric)
        assert {labels: count for labels, count in counts.items() if count} == ({(label,): 1} if metric == name else {})


def test_the_pressure_and_the_time_that_requests_wait_are_told(read: Read) -> None:
    clock = ManualClock()
    load = Load(clock, lambda: 0.5, lambda *_: 0.7)
    admission = Admission(FEW, clock, load)
    for _ in range(100):
        clock.advance(0.001)
        load.arrive(cast(Any, SimpleNamespace(client=ELSEWHERE, server="127.0.0.1:80")))

    assert read(partial(refusals, admission), "tekton_http_queue_delay") == 0.7
    assert read(partial(refusals, admission), "tekton_http_pressure") == load.pressure > -0.5


async def test_subscriptions_are_counted_by_topic_for_as_long_as_they_last(read: Read) -> None:
    table = TopicTable(
        {"metrics": Topic("metrics:read", Conflated().open), "logs": Topic("logs:read", Conflated().open)}
    )
    socket = TopicSocket(table)
    socket.subscriptions["metrics"] += 1

    assert read(partial(subscriptions, socket, table.names), "tekton_socket_subscriptions") == {
        ("metrics",): 1,
        ("logs",): 0,
    }


def test_a_login_that_nobody_looks_at_is_counted() -> None:
    throttle = LoginThrottle(per_account=1)
    throttle.failed(ELSEWHERE, "key", 0.0)

    with suppress(GatewayError):
        throttle.check(ELSEWHERE, "key", 0.0)
    throttle.check(ELSEWHERE, "another", 0.0)

    assert throttle.refused == 1
