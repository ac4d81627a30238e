"""The site has every page once, leads out of docs/ by links to the repository, and fetches nothing from elsewhere."""

from pathlib import Path

import pytest
import site_finish
import site_source

DOCS = site_source.DOCS
NAV = [page for _, pages in site_source.pages() for page in pages]


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(NAV) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")), "see zensical.toml"


def test_the_index_has_the_pages_in_the_groups_of_the_navigation() -> None:
    index = (DOCS / "README.md").read_text()
    groups = [(group, [page for page in pages if page != "README.md"]) for group, pages in site_source.pages()]
    parts = [part.partition("\n") for part in index.split("\n## ")[1:]]

    assert [(title, list(site_source.rows(text))) for title, _, text in parts] == groups


def test_llms_txt_names_every_page_with_what_it_is_about() -> None:
    text = site_source.llms_text()

    assert text.startswith("# Tekton\n\n> ")
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == len(NAV)
    assert f"- [The first five minutes]({site_source.PROJECT['site_url']}tutorial.md): a small system, " in text


@pytest.mark.parametrize(
    ("link", "on_the_site"),
    [
        ("[a](tutorial.md#an-agent)", "[a](tutorial.md#an-agent)"),
        ("[a](#below)", "[a](#below)"),
        ("[a](https://a2a-protocol.org)", "[a](https://a2a-protocol.org)"),
        ("![a](assets/lifecycle.svg)", "![a](assets/lifecycle.svg)"),
        ("[a](../README.md#in-short)", "[a](https://github.com/tekton-core/tekton/blob/main/README.md#in-short)"),
        ("[a](../deploy)", "[a](https://github.com/tekton-core/tekton/tree/main/deploy)"),
        ("```text\n[a](../deploy)\n```", "```text\n[a](../deploy)\n```"),
    ],
)
def test_a_link_out_of_docs_leads_to_the_repository(link: str, on_the_site: str) -> None:
    assert site_source.for_site(link, DOCS / "page.md") == on_the_site


def test_the_source_of_the_site_is_made_of_the_pages(tmp_path: Path) -> None:
    site_source.write(tmp_path / "docs")

    assert {str(page.relative_to(tmp_path / "docs")) for page in tmp_path.rglob("*.md")} == set(NAV)
    assert (tmp_path / "docs" / "llms.txt").read_text() == site_source.llms_text()
    assert (tmp_path / "docs" / "assets" / "lifecycle.svg").exists()


@pytest.mark.parametrize(
    ("html", "fetched"),
    [
        ('<script src="assets/a.js"></script>', []),
        ('<script defer src="https://unpkg.com/a.js"></script>', ["https://unpkg.com/a.js"]),
        ('<link href="//fonts.example/a.css" rel="stylesheet">', ["//fonts.example/a.css"]),
        ('<link rel="canonical" href="https://tekton-core.github.io/tekton/">', []),
        ('<a href="https://example.org">', []),
        ('<img alt="" src="https://example.org/badge.svg">', ["https://example.org/badge.svg"]),
    ],
)
def test_what_a_browser_would_fetch_from_elsewhere_is_found(html: str, fetched: list[str]) -> None:
    assert site_finish.fetched_from_elsewhere(html) == fetched


def test_a_built_site_that_lacks_something_is_not_good(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="https://unpkg.com/a.js"></script>')

    assert site_finish.problems(tmp_path) == [
        "index.html fetches https://unpkg.com/a.js",
        "search.json is missing",
        "llms.txt is missing",
        "assets/session.svg is missing",
    ]
