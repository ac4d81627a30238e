"""Completes the built site in target/site, and looks at it once more.

python docs/site/site_finish.py      after `zensical build`

The Markdown of every page comes beside it, as llms.txt says. Links and anchors were checked by zensical, in the
sources; what a reader's browser would fetch from elsewhere is found here.
"""

import re
import sys
from pathlib import Path

from site_source import ROOT, SOURCE, pages

SITE = ROOT / "target" / "site"

_FETCHED = re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=[\"']?((?:https?:)?//[^\"'\s>]+)")
_LINKED = re.compile(r"<link\b[^>]*>")
_ELSEWHERE = re.compile(r"\shref=[\"']?((?:https?:)?//[^\"'\s>]+)")
_HARMLESS = re.compile(r"\srel=[\"']?(?:canonical|edit|prev|next)\b")


def fetched_from_elsewhere(html: str) -> list[str]:
    """The addresses of other machines that a browser asks when it shows *html*."""
    links = [link for link in _LINKED.findall(html) if not _HARMLESS.search(link)]
    return _FETCHED.findall(html) + [address for link in links for address in _ELSEWHERE.findall(link)]


def problems(site: Path) -> list[str]:
    """What is wrong with the built *site*."""
    found = [
        f"{page.relative_to(site)} fetches {address}"
        for page in sorted(site.rglob("*.html"))
        for address in fetched_from_elsewhere(page.read_text())
    ]
    needed = ["index.html", "search.json", "llms.txt", "assets/session.svg"]
    return found + [f"{name} is missing" for name in needed if not (site / name).exists()]


def put_markdown(site: Path) -> None:
    """Put the Markdown of every page into *site*, where llms.txt looks for it."""
    for _, names in pages():
        for name in names:
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text((SOURCE / name).read_text())


if __name__ == "__main__":
    put_markdown(SITE)
    if wrong := problems(SITE):
        sys.exit("\n".join(wrong))
    print(f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages")
