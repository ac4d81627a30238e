"""Fallbacks in components.json: in which order they are asked, and that they hold for what is loaded."""

import json
from contextlib import nullcontext
from typing import Any

import pytest

from tekton.utils.tekton_config import FallbackSpec, TektonConfig
from tekton.utils.tekton_errors import ConfigurationError


def loaded(folder: Any, fallbacks: dict[str, Any]) -> TektonConfig:
    components = {name: {"command": "x", "port": port} for port, name in enumerate("abc", 9000)}
    folder.write("components.json", json.dumps({"components": components, "fallbacks": fallbacks}))
    return TektonConfig.load(folder.path, environ={"HOME": str(folder.path)}, cwd=folder.path)


def test_the_lowest_priority_comes_first_and_equals_as_they_stand(folder: Any) -> None:
    chain = [{"component": "a", "priority": 1}, {"component": "b"}, {"component": "c"}]

    config = loaded(folder, {"chat": chain, "search.web": []})

    assert [one.component for one in config.fallbacks["chat"]] == ["b", "c", "a"]
    assert config.fallbacks["search.web"] == ()


def test_parameters_are_what_stands_there(folder: Any) -> None:
    chain = [{"component": "a", "parameters": {"model": "small", "limits": [1, None]}}]

    (fallback,) = loaded(folder, {"chat": chain}).fallbacks["chat"]

    assert fallback == FallbackSpec(component="a", parameters={"model": "small", "limits": [1, None]})


def test_without_any_there_are_none(folder: Any) -> None:
    folder.write("components.json", '{"components": {}}')

    assert TektonConfig.load(folder.path, environ={"HOME": str(folder.path)}, cwd=folder.path).fallbacks == {}


@pytest.mark.parametrize("twice", [False, True])
def test_where_all_components_register_by_themselves_any_may_stand_in_once(folder: Any, twice: bool) -> None:
    chain = [{"component": "elsewhere"}, *([{"component": "elsewhere"}] if twice else [])]
    folder.write("components.json", json.dumps({"components": {}, "fallbacks": {"chat": chain}}))

    with pytest.raises(ConfigurationError, match="stand in for itself") if twice else nullcontext():
        config = TektonConfig.load(folder.path, environ={"HOME": str(folder.path)}, cwd=folder.path)
        assert [one.component for one in config.fallbacks["chat"]] == ["elsewhere"]
