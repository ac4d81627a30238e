"""`GET /api/audit`: what it is asked, and what it answers."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.attribution import Attribution
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.decoding import decode_query
from tekton.gateway.errors import InvalidInputError
from tekton.gateway.request import Request
from tekton.service.api.audit import AuditAnswer, AuditFilter, routes
from tekton.service.system import System

ANN = Attribution("ann", "token", "192.0.2.7")


async def asked(registry: ComponentRegistry, query: str) -> AuditAnswer:
    (route,) = routes(cast(System, SimpleNamespace(registry=registry)))
    request = cast(Request, SimpleNamespace(query=decode_query(AuditFilter, query)))
    answer: Any = await route.handler(request)
    assert isinstance(answer, AuditAnswer)
    return answer


async def test_it_answers_in_pages() -> None:
    async with ComponentRegistry() as registry:
        for number in range(5):
            await registry.audit.record("a", str(number), by=ANN)

        first = await asked(registry, "limit=3")
        second = await asked(registry, f"limit=3&cursor={first.cursor}")

    assert [entry.seq for entry in first.items] == [5, 4, 3]
    assert [entry.seq for entry in second.items] == [2, 1]
    assert second.cursor is None


async def test_it_finds_by_actor_action_target_and_time() -> None:
    async with ComponentRegistry() as registry:
        await registry.audit.record("a", "x", by=ANN)
        await registry.audit.record("b", "y", by=ANN)
        await registry.audit.record("b", "x")

        for query, found in (
            ("actor=ann", [2, 1]),
            ("action=b", [3, 2]),
            ("target=x", [3, 1]),
            ("actor=tekton&action=b&target=x", [3]),
            ("since=0.5", [3, 2, 1]),
            ("since=99999999999", []),
        ):
            assert [entry.seq for entry in (await asked(registry, query)).items] == found, query


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "cursor=0",
        "cursor=x",
        f"cursor={2**63}",
        "since=x",
        "since=-1e16",
        "since=1e16",
        "since=null",
        "who=ann",
    ],
)
async def test_what_makes_no_sense_is_refused(query: str) -> None:
    async with ComponentRegistry() as registry:
        with pytest.raises(Exception) as refusal:  # noqa: PT011 (either of the gateway's)
            await asked(registry, query)

    assert isinstance(refusal.value, InvalidInputError) or refusal.type.__name__ == "InvalidParameterError"
