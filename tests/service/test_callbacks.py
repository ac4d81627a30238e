"""Where the control plane sends requests whose URL it was given."""

import dataclasses
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration
from tekton.service.callbacks import callback_client, callback_policy, local_ports
from tekton.utils.guarded_http import RefusedUrlError
from tekton.utils.tekton_config import TektonConfig

HERE = ip_address("127.0.0.1")


@pytest.fixture
def config(tmp_path: Path) -> TektonConfig:
    return TektonConfig.load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)


async def _register(registry: ComponentRegistry, name: str, endpoint: str | None) -> None:
    registration = ComponentRegistration(component_id=name, endpoint=endpoint)
    await registry.register(registration)
    await registry.make_ready(name, registration.instance_uuid)


async def test_components_of_this_machine_can_be_called_while_they_are_there(
    registry: Any, config: TektonConfig
) -> None:
    policy = callback_policy(config, registry)
    before = policy.problem(HERE, 9100)

    await _register(registry, "billing", "http://127.0.0.1:9100")

    assert before == "this machine"
    assert policy.problem(HERE, 9100) is None
    assert policy.problem(HERE, 9101) == "this machine"


async def test_the_ports_are_those_of_endpoints_of_this_machine(registry: Any) -> None:
    for name, endpoint in {
        "a": "http://localhost:1",
        "b": "http://[::1]:2",
        "c": "http://10.0.0.1:3",
        "d": None,
    }.items():
        await _register(registry, name, endpoint)

    assert local_ports(registry) == {1, 2}


async def test_the_control_plane_is_not_called_itself(registry: Any, config: TektonConfig) -> None:
    await _register(registry, "impostor", f"http://127.0.0.1:{config.port}")

    assert callback_policy(config, registry).problem(HERE, config.port) == "this machine"


async def test_who_serves_other_machines_opens_nothing_of_its_own(registry: Any, config: TektonConfig) -> None:
    await _register(registry, "billing", "http://127.0.0.1:9100")

    policy = callback_policy(dataclasses.replace(config, host="0.0.0.0"), registry)

    assert policy.problem(HERE, 9100) == "this machine"


async def test_configured_networks_are_open(registry: Any, config: TektonConfig) -> None:
    config = dataclasses.replace(config, callback_networks=("10.1.0.0/16",))

    assert callback_policy(config, registry).problem(ip_address("10.1.2.3"), 9000) is None
    async with callback_client(config, registry) as client:
        with pytest.raises(RefusedUrlError, match="a private network"):
            await client.send("POST", "http://10.2.0.1/hook", b"{}")
