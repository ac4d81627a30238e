"""What is taken over from a configuration, and what must not be."""

from pathlib import Path

import pytest

from tekton.generate.blueprint import Blueprint, blueprint, probe_command, whole_seconds
from tekton.generate.compose import compose
from tekton.generate.dockerfile import dockerfile
from tekton.generate.kubernetes import kubernetes
from tekton.utils.tekton_config import ProbeSpec, TektonConfig


def test_only_its_own_port_is_replaced(system: Blueprint) -> None:
    hermes, _, local_llm, _ = system.parts

    assert hermes.command == ("python3", "hermes.py", "--port", "8001")
    assert local_llm.command == ("llm", "--model", "${MODEL:-small}", "$HOME")
    assert local_llm.variables["ORG"] == "${ORGANISATION}"


def test_a_component_lies_in_the_image_as_in_the_folder(system: Blueprint) -> None:
    assert [part.directory for part in system.parts] == ["/app", "/app", "/app/llm", "/app"]


def test_one_whose_end_others_wait_for_runs_once(system: Blueprint) -> None:
    assert [part.name for part in system.parts if part.runs_once] == ["migrate"]


@pytest.mark.parametrize("generator", [compose, kubernetes, dockerfile])
def test_no_secret_and_nothing_of_this_machine_is_written(system: Blueprint, generator: object) -> None:
    assert callable(generator)
    written = "".join(generator(system).files.values())

    assert not any(word in written for word in ("do-not-show-this", "secret-of-this-machine", "also-not-this"))
    assert str(system.directory) not in written


@pytest.mark.parametrize(
    ("probe", "command"),
    [
        (ProbeSpec(exec=["test", "x"]), ["test", "x"]),
        (ProbeSpec(log="ready"), None),
        (ProbeSpec(heartbeat=True), None),
    ],
)
def test_a_probe_becomes_a_command_if_one_can_ask(probe: ProbeSpec, command: list[str] | None) -> None:
    assert probe_command(probe, 80) == command


def test_whole_seconds_are_enough_and_at_least_one() -> None:
    assert [whole_seconds(seconds) for seconds in (0.1, 1.0, 1.2)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("content", "used"),
    [
        ("aiohttp>=3\n# x\ntekton-core[otel] ~= 0.1 ; python_version > '3'\n-e .\n", True),
        ("REQ-1  done  Components start\n", False),
        ("# nothing\n", False),
        (None, False),
    ],
)
def test_requirements_are_taken_if_pip_would_take_them(tmp_path: Path, content: str | None, used: bool) -> None:
    (tmp_path / "components.json").write_text('{"components": {}}')
    if content is not None:
        (tmp_path / "requirements.txt").write_text(content)
    system = blueprint(TektonConfig.load(tmp_path, environ={"HOME": "/"}, cwd=tmp_path), "x:1", "0.1.0")

    assert system.requirements is used
    assert ("requirements.txt" in dockerfile(system).shown) is used
