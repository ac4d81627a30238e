"""Which components there are, and which of them start by themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.service.adhoc import AdHoc, AdHocFile
from tekton.service.lineup import LineUp
from tekton.utils.config_selection import Selection
from tekton.utils.tekton_config import ComponentSpec, TektonConfig
from tekton.utils.tekton_errors import ConfigurationError

Load = Callable[..., TektonConfig]

COMPONENTS = {
    "web": {"command": "web", "dependencies": ["db"], "port": 8100},
    "db": {"command": "db", "env": {"DB_PASSWORD": "correct horse"}},
    "gpu": {"command": "gpu", "profiles": ["gpu"], "groups": ["models"]},
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(components, profiles)`: a configuration."""

    def make(components: dict[str, Any], profiles: str | None = None) -> TektonConfig:
        (tmp_path / "components.json").write_text(json.dumps({"components": components}))
        return TektonConfig.load(tmp_path, {"profiles": profiles}, {"HOME": str(tmp_path)}, tmp_path)

    return make


@pytest.fixture
def adhoc(tmp_path: Path) -> AdHoc:
    return AdHoc(AdHocFile(tmp_path / "adhoc.json", "run-1"))


async def test_a_component_that_was_added_starts_by_itself_and_is_one_of_all(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(only=("db",)), adhoc)
    await adhoc.keep(ComponentSpec(name="billing", command=["billing"], groups=["shop"]))

    assert set(lineup.specs) == {"web", "db", "gpu", "billing"}
    assert [name for name in lineup.specs if lineup.starts(name)] == ["billing", "db"]
    assert lineup.groups("billing") == ("shop",)
    assert lineup.groups("gpu") == ("models",)
    assert lineup.groups("nobody") == ()


def test_why_a_component_did_not_start_is_known(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)

    assert lineup.why_not("gpu") == "not started (profile gpu)"
    assert lineup.why_not("web") is None
    assert lineup.why_not("nobody") is None


def test_a_number_that_was_asked_for_holds_until_the_component_is_configured_anew(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)
    web = lineup.config.components["web"]
    running = msgspec.structs.replace(web, replicas=3)
    assert lineup.unscaled(running) == running

    lineup.scaled["web"] = 3
    lineup.adopt(load({**COMPONENTS, "db": {"command": "another"}}))
    assert lineup.unscaled(running) == web
    lineup.adopt(load({**COMPONENTS, "web": {**COMPONENTS["web"], "drain": 1}}))

    assert lineup.scaled == {}
    assert lineup.unscaled(running) == running


def test_a_profile_of_a_later_configuration_counts(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)
    lineup.adopt(load(COMPONENTS, "gpu"))

    assert lineup.starts("gpu")


def test_what_starts_alone_waits_only_for_what_starts_with_it(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(only=("web",), alone=True), adhoc)

    assert lineup.config.components["web"].dependencies == []


async def test_the_secrets_of_what_was_added_are_kept_out_too(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)
    await adhoc.keep(ComponentSpec(name="billing", command=["billing"], env={"API_TOKEN": "battery staple"}))

    assert lineup.redact("correct horse, battery staple") == "[redacted], [redacted]"


async def test_a_new_configuration_may_not_take_the_port_of_what_was_added(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)
    await adhoc.keep(ComponentSpec(name="billing", command=["billing"], port=9100))
    clashing = load({"web": {"command": "web", "port": 9100}})

    with pytest.raises(ConfigurationError, match=r"components.json:1:.*port 9100 of web is already that of billing"):
        lineup.refuse_clash(clashing)

    lineup.refuse_clash(load({"billing": {"command": "billing", "port": 9100}}))


async def test_ports_are_those_of_all_others(load: Load, adhoc: AdHoc) -> None:
    lineup = LineUp(load(COMPONENTS), Selection(), adhoc)
    await adhoc.keep(ComponentSpec(name="billing", command=["billing"], port=9100))

    assert lineup.ports("web") == {9100: "billing", 8010: "the control plane"}
