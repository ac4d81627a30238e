"""What the site is made of: the pages of docs/, the recorded session and llms.txt, in target/docs.

python docs/site/site_source.py      make that folder anew

Rules:

* Which pages there are, and in which order, stands in `nav` of zensical.toml. What each is about stands in the tables
  of docs/README.md. Nothing here has a list of its own.
* A link to a file outside docs/ becomes a link to the repository: the site has no copies of them.
* llms.txt names the Markdown of each page, which `site_finish.py` puts beside the built one.
"""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "target" / "docs"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
COPIED = (".md", ".svg", ".css")

_FENCE = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)]+)\) \| (.*) \|$", re.MULTILINE)
_SCHEME = re.compile(r"[a-z]+:")


def pages() -> Iterator[tuple[str, list[str]]]:
    """The groups of the navigation, and the pages of each, by their paths in docs/."""
    for group in PROJECT["nav"]:
        yield from group.items()


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Page -> its title and what it is about, of the tables in *text*."""
    return {page: (title, about) for title, page, about in _ROW.findall(text)}


def for_site(text: str, page: Path) -> str:
    """*text* of *page*, with links to what is outside docs/ leading to the repository."""

    def changed(link: re.Match[str]) -> str:
        return f"{link[1]}{_target(link[2], page)}{link[3] or ''}"

    parts = _FENCE.split(text)
    return "".join(part if number % 2 else _LINK.sub(changed, part) for number, part in enumerate(parts))


def _target(path: str, page: Path) -> str:
    if _SCHEME.match(path):
        return path
    target = (page.parent / path).resolve()
    if target.is_relative_to(DOCS) and target.suffix in COPIED:
        return path
    kind = "tree" if target.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{target.relative_to(ROOT)}"


def llms_text() -> str:
    """The whole of llms.txt (https://llmstxt.org): every page with what it is about."""
    about = rows((DOCS / "README.md").read_text())
    about["README.md"] = ("Tekton", "what it is, and every page with what it is about")
    parts = [f"# {PROJECT['site_name']}\n\n> {PROJECT['site_description']}\n"]
    for group, names in pages():
        lines = [f"- [{about[name][0]}]({PROJECT['site_url']}{name}): {about[name][1]}\n" for name in names]
        parts.append(f"## {group}\n\n{''.join(lines)}")
    return "\n".join(parts)


def write(source: Path = SOURCE) -> None:
    """Make the folder *source* anew."""
    shutil.rmtree(source, ignore_errors=True)
    for path in sorted(DOCS.rglob("*.*")):
        if path.suffix in COPIED:
            copy = source / path.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(for_site(path.read_text(), path) if path.suffix == ".md" else path.read_text())
    (source / "llms.txt").write_text(llms_text())


if __name__ == "__main__":
    write()
