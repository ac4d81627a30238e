"""What `make version` compares before anything is released."""

import tomllib
from pathlib import Path

import pytest
from load_script import load_script

version = load_script(Path(__file__).with_name("version.py"))

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sources of version 1.2.3 that may be released."""
    (tmp_path / "Cargo.toml").write_text('[workspace.package]\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.3 - 2026-12-01\n")
    production = tmp_path / version.PRODUCTION
    production.parent.mkdir(parents=True)
    production.write_text("images:\n  - name: tekton/core\n    newTag: 1.2.3\n")
    return tmp_path


def test_a_version_is_released_when_all_that_names_it_agrees(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version.main("1.2.3", root)

    assert capsys.readouterr().out == "ok  1.2.3\n"


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("Cargo.toml", "the sources are version 1.2.2, not 1.2.3"),
        (version.PRODUCTION, "has the image 1.2.2, and the sources are version 1.2.3"),
        ("CHANGELOG.md", "no heading '## 1.2.3 - DATE'"),
    ],
)
def test_it_is_not_while_one_of_them_has_another(root: Path, file: str, complaint: str) -> None:
    path = root / file
    path.write_text(path.read_text().replace("1.2.3", "1.2.2"))

    with pytest.raises(SystemExit, match=complaint):
        version.main("1.2.3", root)


def test_the_manifests_for_production_have_the_version_of_the_sources() -> None:
    ours = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

    assert f"newTag: {ours}\n" in (ROOT / version.PRODUCTION).read_text()
