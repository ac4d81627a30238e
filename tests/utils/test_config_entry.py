"""One component by itself, checked as in components.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.config_entry import read_entry
from tekton.utils.config_schema import DependencySpec, ProbeSpec
from tekton.utils.tekton_config import ComponentSpec
from tekton.utils.tekton_errors import ConfigurationError, Mistake


def read(entry: dict[str, Any], name: str = "billing") -> ComponentSpec:
    return read_entry(
        name,
        json.dumps(entry).encode(),
        directory=Path("/srv/app"),
        home=Path("/home/ada"),
        start_timeout=60.0,
        ports={8001: "hermes"},
    )


def mistakes(entry: dict[str, Any], name: str = "billing") -> tuple[Mistake, ...]:
    with pytest.raises(ConfigurationError) as raised:
        read(entry, name)
    return raised.value.mistakes


def test_an_entry_becomes_a_complete_component() -> None:
    spec = read(
        {
            "command": "node server.js",
            "port": 9100,
            "cwd": "web",
            "dependencies": ["hermes", {"component": "migrate", "condition": "completed"}],
            "ready": {"http": "/healthz"},
        }
    )

    assert spec.command == ["node", "server.js"]
    assert spec.cwd == "/srv/app/web"
    assert spec.start_timeout == 60.0
    assert spec.component_name == "billing"
    assert spec.dependencies == [
        DependencySpec(component="hermes"),
        DependencySpec(component="migrate", condition="completed"),
    ]
    assert spec.ready == ProbeSpec(http="/healthz")


def test_nothing_is_replaced_in_its_texts() -> None:
    spec = read({"command": ["echo", "${HOME}", "$$"], "env": {"PS1": "${debian_chroot:+x}$ "}})

    assert spec.command == ["echo", "${HOME}", "$$"]
    assert spec.env == {"PS1": "${debian_chroot:+x}$ "}


@pytest.mark.parametrize(
    ("entry", "pointer", "problem"),
    [
        ({"command": []}, "/command", "must not be empty"),
        ({"command": "x", "port": 0}, "/port", "expected a whole number"),
        ({"command": "x", "port": 8001}, "/port", "port 8001 of billing is already that of hermes"),
        ({"command": "x", "ready": {"tcp": True}}, "/ready/tcp", "the component has no port"),
        ({"command": "x", "ready": {"log": "("}}, "/ready/log", "not a regular expression"),
        ({"command": "x", "env": {"A=B": "1"}}, "/env/A=B", "cannot be the name"),
        ({"command": "x", "prot": 1}, "/prot", "unknown key"),
        ({"command": "x", "env_file": "absent.env"}, "/env_file", "no such file"),
        ({}, "", "has no 'command'"),
    ],
)
def test_a_mistake_has_a_pointer_into_the_entry(entry: dict[str, Any], pointer: str, problem: str) -> None:
    (mistake,) = mistakes(entry)

    assert mistake.pointer == pointer
    assert problem in mistake.problem
    assert mistake.line == 0


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes({"command": "x", "port": 8001, "ready": {"http": "healthz"}, "stop_timeout": -1})

    assert {mistake.pointer for mistake in found} == {"/port", "/ready/http", "/stop_timeout"}


@pytest.mark.parametrize("name", ["tekton", "Billing", "a b", ""])
def test_a_name_that_cannot_be_is_a_mistake(name: str) -> None:
    assert mistakes({"command": "x"}, name)


def test_secrets_are_not_in_what_is_told() -> None:
    (mistake,) = mistakes({"command": "x", "env": {"API_TOKEN": "s3cret-value"}, "env_file": "s3cret-value"})

    assert "s3cret-value" not in mistake.problem
