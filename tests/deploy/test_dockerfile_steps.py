"""The reader of Dockerfiles that the test of the image stands on."""

from pathlib import Path

import pytest
from load_script import load_script

dockerfile_steps = load_script(Path(__file__).with_name("dockerfile_steps.py"))

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
# A comment
FROM python:3 AS build
RUN a && \\
    b
FROM python:3-slim
COPY --from=build /opt /opt
ENV A=1 B="two words"
HEALTHCHECK --interval=10s --timeout=3s \\
    CMD ["python", "-m", "x"]
CMD ["tekton", "up"]
"""


def test_stages_have_steps() -> None:
    build, last = dockerfile_steps.read(TEXT)

    assert (build.base, build.name, last.base, last.name) == ("python:3", "build", "python:3-slim", "")
    assert [step.command for step in build.steps] == [["/bin/sh", "-c", "a && b"]]
    copy, env, health, command = last.steps
    assert (copy.options, copy.words) == ({"from": "build"}, ["/opt", "/opt"])
    assert dockerfile_steps.assignments(env) == {"A": "1", "B": "two words"}
    assert (health.command, health.options["interval"]) == (["python", "-m", "x"], "10s")
    assert command.command == ["tekton", "up"]


def test_an_instruction_that_nobody_would_execute_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ADD is no instruction"):
        dockerfile_steps.read("FROM x\nADD a b\n")


def test_the_dockerfile_of_the_repository_can_be_read() -> None:
    *_, last = dockerfile_steps.read((ROOT / "deploy" / "docker" / "Dockerfile").read_text())

    said = {step.name: step.text for step in last.steps}
    assert said["CMD"] == '["python", "-m", "tekton.service.main"]'
    assert said["USER"] == "10001"
