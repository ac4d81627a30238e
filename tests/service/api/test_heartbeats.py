"""The heartbeat routes: on whose behalf they do something."""

import pytest

from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient


async def _registered(registry: ComponentRegistry) -> str:
    instance = (await registry.register(ComponentRegistration(component_id="rhetor"))).record.instance_uuid
    await registry.make_ready("rhetor", instance)
    return instance


@pytest.mark.parametrize("batch", [False, True])
async def test_a_state_that_a_heartbeat_reports_is_reported_by_its_sender(batch: bool) -> None:
    async with InMemoryControlPlane() as plane, HttpClient(plane.address.url) as client:
        beat = {"instance_uuid": await _registered(plane.registry), "state": "degraded", "reason": "slow"}
        if batch:
            await client.request("POST", "/api/heartbeats", {"heartbeats": [{"component_id": "rhetor"} | beat]})
        else:
            await client.request("POST", "/api/components/rhetor/heartbeat", beat)

        page = await plane.registry.audit.page(AuditQuery(), limit=1)

    assert [(entry.actor, entry.target) for entry in page.entries] == [("anonymous", "rhetor")]
