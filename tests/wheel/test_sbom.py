"""The list of what an installation consists of has the crates, the version, and who needs whom."""

from pathlib import Path
from typing import Any

import pytest
from load_script import load_script

HERE = Path(__file__).parent
LOCK = """\
# This file was made
aiohttp==3.14.5 \\
    --hash=sha256:0133 \\
    --hash=sha256:038c
    # via tekton-core (pyproject.toml)
attrs==26.1.0 ; python_full_version < '3.13' \\
    --hash=sha256:c647
    # via
    #   aiohttp
    #   tekton-core (pyproject.toml)
"""


@pytest.fixture
def sbom(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(HERE)
    return load_script(HERE / "sbom.py")


def test_who_needs_a_package_stands_below_it(sbom: Any) -> None:
    assert sbom.required(LOCK) == {"tekton-core": {"aiohttp", "attrs"}, "aiohttp": {"attrs"}}


def test_every_package_of_an_installation_says_who_needs_it(sbom: Any) -> None:
    lock = sbom.REQUIREMENTS.read_text()

    needed = set().union(*sbom.required(lock).values())

    assert needed == {sbom.normal(line.partition("==")[0]) for line in lock.splitlines() if "==" in line}


def test_crates_stand_beside_the_packages_and_both_are_needed_by_the_root(sbom: Any) -> None:
    document = {
        "metadata": {"component": {"bom-ref": "root", "name": "tekton-core"}},
        "components": [{"bom-ref": "L1", "name": "aiohttp"}, {"bom-ref": "L2", "name": "attrs"}],
    }
    crates = [
        {"name": "pyo3", "version": "0.30.1", "license": "MIT/Apache-2.0"},
        {"name": "libc", "version": "0.2.1", "license": "MIT"},
    ]

    made = sbom.merged(document, "1.2.3", LOCK, crates, {"tekton-native": {"pyo3"}, "pyo3": {"libc"}})

    assert made["metadata"]["component"]["version"] == "1.2.3"
    assert [one["name"] for one in made["components"]] == ["aiohttp", "attrs", "pyo3", "libc"]
    assert made["components"][2]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    pyo3, libc = "pkg:cargo/pyo3@0.30.1", "pkg:cargo/libc@0.2.1"
    assert made["dependencies"] == [
        {"ref": "L1", "dependsOn": ["L2"]},
        {"ref": "L2", "dependsOn": []},
        {"ref": libc, "dependsOn": []},
        {"ref": pyo3, "dependsOn": [libc]},
        {"ref": "root", "dependsOn": ["L1", "L2", pyo3]},
    ]
