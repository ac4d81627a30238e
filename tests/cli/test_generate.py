"""generate: what is printed, what is written, and what is left alone."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tekton.cli.app import cli

KINDS = {
    "dockerfile": ["Dockerfile", ".dockerignore"],
    "compose": ["compose.yaml"],
    "k8s": ["core.yaml", "web.yaml", "networkpolicy.yaml", "kustomization.yaml"],
    "systemd": ["my-app.service"],
}


def generate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["generate", *arguments], catch_exceptions=False, prog_name="tekton")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a system."""
    place = tmp_path / "My App"
    place.mkdir()
    (place / "components.json").write_text(json.dumps({"components": {"web": {"command": "web", "port": 8100}}}))
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_printed_and_nothing_is_written(place: Path, kind: str) -> None:
    result = generate(kind)

    assert result.exit_code == 0
    assert "my-app" in result.stdout
    assert [path.name for path in place.iterdir()] == ["components.json"]


@pytest.mark.parametrize(("kind", "files"), KINDS.items())
def test_what_exists_is_replaced_by_force_only(place: Path, kind: str, files: list[str]) -> None:
    first = generate(kind, "-o", "made")
    (place / "made" / files[0]).write_text("mine")
    second = generate(kind, "-o", "made")
    kept = (place / "made" / files[0]).read_text()
    third = generate(kind, "-o", "made", "--force")

    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 6, 0)
    assert sorted(path.name for path in (place / "made").iterdir()) == sorted(files)
    assert f"made: has {', '.join(files)} already; --force replaces it" in second.stderr
    assert kept == "mine" != (place / "made" / files[0]).read_text()


def test_a_unit_for_a_folder_for_a_while_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place.parent))

    assert "is a folder for a while; move the system" in generate("systemd").stderr


def test_the_image_can_have_another_name(place: Path) -> None:
    assert "image: registry.example/web" in generate("compose", "--image", "registry.example/web").stdout


def test_another_file_can_be_named(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert "my-app" in generate("compose", "-f", str(place / "components.json")).stdout


def test_a_mistake_in_the_configuration_is_told(place: Path) -> None:
    (place / "components.json").write_text('{"components": {"web": {"comand": "web"}}}')

    result = generate("compose")

    assert (result.exit_code, result.stdout) == (8, "")


def test_without_components_there_is_nothing_to_generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tekton.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    result = generate("dockerfile")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no components.json" in result.stderr


def test_two_that_would_be_called_the_same_in_kubernetes_are_refused(place: Path) -> None:
    components = {"a-b": {"command": "x"}, "a_b": {"command": "x"}}
    (place / "components.json").write_text(json.dumps({"components": components}))

    result = generate("k8s")

    assert result.exit_code == 2
    assert "two components would be a-b" in result.stderr


def test_the_components_are_never_replaced(place: Path) -> None:
    components = {
        "components": {"web": {"command": "web", "port": 8100}},
        "fallbacks": {"chat": [{"component": "web"}]},
    }
    (place / "components.json").write_text(json.dumps(components))

    assert generate("k8s", "-o", ".", "--force").exit_code == 0

    assert json.loads((place / "components.json").read_text()) == components


def test_what_may_have_a_secret_in_it_is_for_its_owner_alone(place: Path) -> None:
    (place / "security.json").write_text(json.dumps({"security": {"jwt_secret": "Zk3vQ9pLm2Xa5hJ0Yk3vQ9pLm2XaZk3v"}}))
    (place / "security.json").chmod(0o600)

    assert generate("k8s", "-o", "made").exit_code == 0

    modes = {path.name: path.stat().st_mode & 0o077 for path in (place / "made").iterdir()}
    assert modes["security.json"] == 0
    assert modes["core.yaml"] & 0o044
