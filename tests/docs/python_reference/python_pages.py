"""Keeps docs/reference/python/ true: the pages are made from the signatures and docstrings of the public names.

python tests/docs/python_reference/python_pages.py      write them anew

Which names there are, and on which page, is decided in `python_names.py`.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from python_names import INTRODUCTION, PAGES, Page
from python_source import Value, described

import tekton
from tekton.utils import tekton_errors
from tekton.utils.error_catalogue import catalogue
from tekton.utils.tekton_errors import TektonError

_SHOWN_BASES = {"Exception", "TektonError", "Protocol", "StrEnum", "IntEnum", "Enum"}
FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference" / "python"


@cache
def pages() -> dict[str, str]:
    """File name -> text."""
    found = {f"{page.name}.md": "".join(_page(page)).rstrip() + "\n" for page in PAGES}
    return {"index.md": "".join(_index()), **found}


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _index() -> Iterator[str]:
    yield INTRODUCTION
    homes = {name: (page, module) for page in PAGES for module, names in page.modules.items() for name in names}
    yield "\n## In `tekton`\n\n| Name | What it is |\n|---|---|\n"
    for name in tekton.__all__:
        page, module = homes[name]
        yield f"| [`{name}`]({page.name}.md#{anchor(name)}) | {_first(described(module, name).doc)} |\n"
    yield "\n## By module\n\n| Module | Names |\n|---|---|\n"
    for page in PAGES:
        for module, names in page.modules.items():
            links = ", ".join(f"[`{name}`]({page.name}.md#{anchor(name)})" for name in names)
            yield f"| `{module}` | {links} |\n"


def _page(page: Page) -> Iterator[str]:
    yield f"# {page.title}\n\n{page.introduction}\n\n"
    for module, names in page.modules.items():
        yield f"## `{module}`\n\n"
        for name in names:
            yield from _entry(module, name)
    if page.name == "errors":
        yield from _errors()


def _errors() -> Iterator[str]:
    """Every class of the tree: what it is a kind of, what it carries, and where its code is explained."""
    known = catalogue()
    yield "## Every class\n\nTo be imported from `tekton.utils.tekton_errors`.\n\n"
    yield "| Class | Base | Fields | Code |\n|---|---|---|---|\n"
    for name in tekton_errors.__all__:
        kind = getattr(tekton_errors, name)
        if not issubclass(kind, TektonError):
            continue
        found = described("tekton.utils.tekton_errors", name)
        base = f"`{found.bases[0]}`" if found.bases else ""
        fields = ", ".join(f"`{each}`" for each in found.parameters) or "a sentence"
        code = f"[`{kind.code}`](../errors.md#{kind.code})" if kind.code in known else ""
        yield f"| `{name}` | {base} | {fields} | {code} |\n"


def _entry(module: str, name: str) -> Iterator[str]:
    found = described(module, name)
    yield f"### `{name}`\n\n"
    signature = re.sub(r"[(\n]", " ", "".join(found.signatures))
    home = "tekton" if name in tekton.__all__ else module
    yield _code([f"from {home} import {name}\n", *found.signatures])
    if bases := [base for base in found.bases if base in _SHOWN_BASES]:
        yield f"Base: {', '.join(f'`{base}`' for base in bases)}.\n\n"
    yield _text(found.doc)
    # A field without a docstring is in the signature, and the docstring of the class says what it is.
    said = "".join(_value(value) for value in found.values if value.doc or f" {value.name}:" not in signature)
    yield f"{said}\n" if said else ""
    for method in found.methods:
        yield f"#### `{name}.{method.name}`\n\n"
        yield _code(method.signatures)
        yield _text(method.doc)


def _code(signatures: list[str]) -> str:
    body = "\n".join(signatures).rstrip()
    return f"```py\n{body}\n```\n\n"


def _value(value: Value) -> str:
    doc = " ".join(value.doc.split())
    return f"- `{value.shown}`" + (f": {doc}" if doc else "") + "\n"


def _text(doc: str) -> str:
    return f"{doc}\n\n" if doc else ""


def _first(doc: str) -> str:
    """The first sentence."""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)[0].rstrip(":")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
