"""docs/reference/python/ is made from signatures and docstrings, and has every public name."""

import importlib
import re
from pathlib import Path

import pytest
import python_pages
from load_script import load_script
from python_names import PAGES
from python_source import described

import tekton
from tekton.utils import tekton_errors

ROOT = Path(__file__).resolve().parents[2]
NAMES = [(module, name) for page in PAGES for module, names in page.modules.items() for name in names]
DESCRIBED = {name for _, name in NAMES} | set(tekton_errors.__all__)
SPECIFIED: dict[str, list[str]] = load_script(ROOT / "tests" / "test_public_api.py").SPECIFIED
PLACES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.py"))]
INSIDE = {
    "tekton.bus.dead_letters",
    "tekton.bus.live",
    "tekton.bus.streams.memory_store",
    "tekton.bus.streams.streams",
    "tekton.core.degradation.breaker_states",
}
"""Modules whose insides a page shows: they are not offered to programs."""


def imported_in_examples() -> set[str]:
    """The names that examples of the documentation import from the package."""
    texts = [path.read_text() for path in PLACES if "python" not in path.parent.name]
    found = [line for text in texts for line in re.findall(r"^from (tekton[.\\w]*) import (.+)$", text, re.MULTILINE)]
    given = [name for module, names in found if module not in INSIDE for name in names.split(",")]
    return {name.partition(" as ")[0].strip() for name in given}


@pytest.mark.parametrize("name", sorted(python_pages.pages()))
def test_a_page_is_what_the_sources_say(name: str) -> None:
    text = (python_pages.FOLDER / name).read_text()

    assert text == python_pages.pages()[name], "run python tests/docs/python_reference/python_pages.py"


def test_there_are_no_other_pages() -> None:
    assert sorted(path.name for path in python_pages.FOLDER.iterdir()) == sorted(python_pages.pages())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_two_headings_of_a_page_have_one_anchor(page: python_pages.Page) -> None:
    text = python_pages.pages()[f"{page.name}.md"]
    anchors = [python_pages.anchor(heading) for heading in re.findall(r"^##+ (.+)$", text, re.MULTILINE)]

    assert sorted(set(anchors)) == sorted(anchors)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_is_there_and_it_and_its_methods_have_a_docstring(module: str, name: str) -> None:
    found = described(module, name)

    assert hasattr(importlib.import_module(module), name)
    assert found.doc
    assert [method.name for method in found.methods if not method.doc] == []


def test_what_the_examples_of_the_documentation_import_is_described() -> None:
    assert sorted(imported_in_examples() - DESCRIBED) == []


def test_what_the_specification_imports_is_described() -> None:
    specified = {name for module, names in SPECIFIED.items() if module != "tekton.service.main" for name in names}

    assert sorted(specified - DESCRIBED) == []


def test_what_the_package_offers_is_described() -> None:
    assert sorted(set(tekton.__all__) - DESCRIBED) == []
