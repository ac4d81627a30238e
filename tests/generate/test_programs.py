"""What the components of a system need beside Python."""

from pathlib import Path
from typing import Any

from tekton.generate.blueprint import Blueprint, blueprint
from tekton.generate.compose import compose
from tekton.generate.dockerfile import dockerfile
from tekton.generate.kubernetes import kubernetes
from tekton.generate.programs import note, packages, programs
from tekton.utils.tekton_config import TektonConfig

EXAMPLE = Path(__file__).parents[2] / "examples" / "system"


def example() -> Blueprint:
    return blueprint(TektonConfig.load(EXAMPLE, environ={}, cwd=EXAMPLE), "example:latest", "0.1.0")


def test_what_is_not_python_is_named_with_its_component() -> None:
    assert programs(example()) == {
        "rhetor": ["node"],
        "athena": ["perl"],
        "telos": ["sh", "curl"],
        "api_gateway": ["sh", "curl"],
    }


def test_the_image_has_the_programs_that_are_known() -> None:
    shown = dockerfile(example()).shown

    assert "apt-get install --yes --no-install-recommends curl nodejs perl &&" in shown
    assert shown.index("FROM python:3.13-slim\nRUN apt-get") < shown.index("USER 10001")
    assert max(map(len, shown.splitlines())) <= 120


def test_every_kind_of_output_names_them() -> None:
    system = example()

    (sentence,) = note(system)
    assert sentence in compose(system).shown
    assert sentence in kubernetes(system).shown
    assert sentence.endswith("rhetor (node), athena (perl), telos (sh, curl), api_gateway (sh, curl).")
    assert "rhetor (node)" in dockerfile(system).shown


def test_a_system_of_python_needs_nothing(make_system: Any) -> None:
    system = make_system({"a": {"command": "/usr/bin/python3.12 a.py"}, "b": {"command": ["tekton", "ps"]}})

    assert (programs(system), packages(system), list(note(system))) == ({}, [], [])
    assert "apt-get" not in dockerfile(system).shown


def test_a_script_that_is_not_there_is_no_mistake(make_system: Any) -> None:
    long = "node " * 100
    system = make_system({"a": {"command": ["sh", "gone.sh"]}, "b": {"command": ["bash", "-c", long]}})

    assert programs(system) == {"a": ["sh"], "b": ["bash", "node"]}
