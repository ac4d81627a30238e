"""What somebody was not let do, in the audit log: once a minute, and never without bounds."""

import logging

import pytest

from tekton.core.audit import refusals
from tekton.core.audit.query import AuditQuery
from tekton.core.audit.refusals import Refusals, Refused
from tekton.core.component_lifecycle import ComponentRegistry

SPOKE = Refused("billing", "token", "10.0.0.1", "message.publish", "tekton.metrics", "may not publish to it")


async def entries(registry: ComponentRegistry) -> list[tuple[str, str, str, str, str]]:
    found = (await registry.audit.page(AuditQuery(), 1000)).entries
    return [(one.actor, one.action, one.target, one.outcome, one.detail) for one in reversed(found)]


async def test_refusals_are_entered_together_with_their_number(registry: ComponentRegistry) -> None:
    noted = Refusals(registry.audit)

    noted.note(SPOKE)
    noted.note(SPOKE)
    noted.note(SPOKE._replace(target="tekton.logs"))
    await noted.enter()

    assert await entries(registry) == [
        ("billing", "message.publish", "tekton.metrics", "refused", "may not publish to it (2 times)"),
        ("billing", "message.publish", "tekton.logs", "refused", "may not publish to it"),
    ]
    assert noted.total == 3


async def test_they_are_entered_while_it_runs_and_when_it_stops(registry: ComponentRegistry) -> None:
    noted = Refusals(registry.audit, interval=3600.0)
    noted.start()
    noted.note(SPOKE)

    await noted.stop()

    assert len(await entries(registry)) == 1


async def test_who_tries_much_fills_neither_the_log_nor_the_memory(
    registry: ComponentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MAX_KINDS", 3)
    noted = Refusals(registry.audit)

    for number in range(50):
        noted.note(SPOKE._replace(target=f"tekton.{number}"))
    await noted.enter()

    found = await entries(registry)
    assert len(found) == 4
    assert found[-1] == ("anonymous", "refused", "", "refused", "too many refusals to tell apart (47 times)")


async def test_nobody_hides_behind_his_noise_what_others_try(
    registry: ComponentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MAX_KINDS", 10)
    monkeypatch.setattr(refusals, "MAX_OF_ONE", 2)
    noted = Refusals(registry.audit)

    for number in range(50):
        noted.note(SPOKE._replace(target=f"tekton.{number}"))
    noted.note(SPOKE._replace(actor="engram"))
    await noted.enter()

    assert [(actor, action, detail.partition(" (")[2]) for actor, action, _, _, detail in await entries(registry)] == [
        ("billing", "message.publish", ""),
        ("billing", "message.publish", ""),
        ("billing", "refused", "48 times)"),
        ("engram", "message.publish", ""),
    ]


async def test_the_first_of_a_kind_is_logged_at_once(
    registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    noted = Refusals(registry.audit)

    with caplog.at_level(logging.INFO, "tekton.audit"):
        noted.note(SPOKE)
        noted.note(SPOKE)

    assert [record.getMessage() for record in caplog.records] == [
        "message.publish of tekton.metrics was refused: may not publish to it"
    ]
