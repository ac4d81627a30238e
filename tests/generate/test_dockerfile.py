"""The Dockerfile of a system."""

from pathlib import Path

from load_script import load_script

from tekton.generate.blueprint import Blueprint
from tekton.generate.dockerfile import dockerfile

steps = load_script(Path(__file__).parents[1] / "deploy" / "dockerfile_steps.py")


def test_it_runs_the_system_as_a_user_without_rights(system: Blueprint) -> None:
    build, last = steps.read(dockerfile(system).shown)

    assert "tekton-core==0.1.0" in build.steps[1].text
    said = {step.name: step for step in last.steps}
    assert said["CMD"].words == ["tekton", "up", "--no-progress"]
    assert (said["USER"].text, said["WORKDIR"].text, said["VOLUME"].words) == ("10001", "/app", ["/data"])
    assert said["EXPOSE"].words == ["8001", "8010", "8012"]
    assert said["HEALTHCHECK"].words == ["python", "-m", "tekton.service.health"]


def test_data_and_secrets_stay_out_of_the_image(system: Blueprint) -> None:
    ignored = dockerfile(system).files[".dockerignore"].splitlines()

    assert {".git", ".tekton", "**/.env", "**/*.key", "data"} <= set(ignored)
