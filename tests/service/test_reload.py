"""What a new configuration changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.service.reload import AT_ONCE, applicable, compare_settings, compare_specs
from tekton.utils.tekton_config import SETTINGS, ComponentSpec, TektonConfig

Load = Callable[..., TektonConfig]

names = st.sampled_from(["a", "b", "c", "d", "e"])
specs = st.builds(
    lambda command, port, groups: {"command": command, "port": port, "groups": groups},
    st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2),
    st.one_of(st.none(), st.integers(1, 3)),
    st.lists(names, max_size=2),
)
lineups = st.dictionaries(names, specs).map(
    lambda found: {name: ComponentSpec(name=name, **fields) for name, fields in found.items()}
)


@given(lineups, lineups)
def test_applying_the_difference_to_the_old_gives_the_new(
    old: dict[str, ComponentSpec], new: dict[str, ComponentSpec]
) -> None:
    difference = compare_specs(old, new)

    made = {name: old[name] for name in difference.kept} | {
        name: new[name] for name in (*difference.added, *difference.changed)
    }
    assert made == new
    assert set(difference.removed) == set(old) - set(new)


@given(lineups, lineups)
def test_every_component_is_in_one_part_of_the_difference(
    old: dict[str, ComponentSpec], new: dict[str, ComponentSpec]
) -> None:
    parts = compare_specs(old, new)

    assert sorted(name for part in parts for name in part) == sorted({*old, *new})
    assert all(part == sorted(part) for part in parts)


@given(lineups)
def test_nothing_differs_from_itself(lineup: dict[str, ComponentSpec]) -> None:
    copy = msgspec.convert(msgspec.to_builtins(lineup), dict[str, ComponentSpec])

    assert compare_specs(lineup, copy) == ([], [], [], sorted(lineup))


@given(lineups, lineups)
def test_the_way_back_is_the_difference_the_other_way_round(
    old: dict[str, ComponentSpec], new: dict[str, ComponentSpec]
) -> None:
    there, back = compare_specs(old, new), compare_specs(new, old)

    assert (there.added, there.removed, there.changed, there.kept) == (
        back.removed,
        back.added,
        back.changed,
        back.kept,
    )


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(port=…)`: a configuration with these settings."""

    def make(**settings: Any) -> TektonConfig:
        return TektonConfig.load(overrides=settings, environ={"HOME": str(tmp_path)}, cwd=tmp_path)

    return make


def test_settings_that_can_change_now_are_told_apart_from_those_that_cannot(load: Load) -> None:
    old = load()
    new = load(port=9000, log_level="debug", **{"components.heartbeat_timeout": 40})

    assert compare_settings(old, new) == (
        ["tekton.log_level", "tekton.components.heartbeat_timeout"],
        ["tekton.port"],
    )


def test_what_cannot_change_keeps_its_value(load: Load) -> None:
    old = load()

    config = applicable(old, load(port=9000, host="127.0.0.2", data_dir="/elsewhere", log_level="debug"))

    assert (config.host, config.port, config.data_dir) == (old.host, old.port, old.data_dir)
    assert config.ports["tekton"] == old.port
    assert config.log_level == "debug"


def test_every_setting_that_can_change_exists() -> None:
    assert {setting.attribute for setting in SETTINGS} >= AT_ONCE


def test_fallbacks_hold_at_once(tmp_path: Path) -> None:
    def load(*names: str) -> TektonConfig:
        fallbacks = {"chat": [{"component": name} for name in names]}
        components = {name: {"command": "x", "port": port} for port, name in enumerate(("local", "cloud"), 9000)}
        (tmp_path / "components.json").write_text(json.dumps({"components": components, "fallbacks": fallbacks}))
        return TektonConfig.load(tmp_path, environ={"HOME": str(tmp_path)}, cwd=tmp_path)

    old, new = load("local"), load("cloud", "local")

    assert compare_settings(old, new) == (["fallbacks"], [])
    assert [one.component for one in applicable(old, new).fallbacks["chat"]] == ["cloud", "local"]
