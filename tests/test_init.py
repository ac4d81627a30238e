"""The names of the package, and what importing it costs."""

import subprocess
import sys

import pytest

import tekton


@pytest.mark.parametrize("name", tekton.__all__)
def test_every_name_is_there_and_is_what_its_module_has(name: str) -> None:
    value = getattr(tekton, name)

    assert value.__name__ == name
    assert name in dir(tekton)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import tekton; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert result.stdout == "['tekton']\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nope'"):
        tekton.Nope  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert tekton.__version__ == version("tekton-core")
