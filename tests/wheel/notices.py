"""THIRD_PARTY.md: the licences of what is linked into the extension. `notices.py` writes it, `--check` compares."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "THIRD_PARTY.md"
HEAD = """\
# Licences of others

What is linked into the extension `tekton._native`, beside our own code. Written by `make notices`.
"""


def main(check: bool) -> None:
    page = HEAD + "".join(map(notice, linked()))
    if not check:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        sys.exit("THIRD_PARTY.md is not what is linked; `make notices` writes it")


def linked() -> list[dict[str, str]]:
    """The packages that end in the extension, as `cargo metadata` describes them."""
    tree = cargo("tree", "--package", "tekton-native", "--edges", "normal,no-proc-macro", "--prefix", "none")
    names = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    found = [one for one in packages if (one["name"], f"v{one['version']}") in names and one["source"]]
    return sorted(found, key=lambda one: one["name"])


def notice(package: dict[str, str]) -> str:
    sources = Path(package["manifest_path"]).parent
    texts = [path for path in sorted(sources.glob("LICEN[CS]E*")) if "apache" not in path.name.lower()]
    (text, *_) = texts or sorted(sources.glob("LICEN[CS]E*"))
    heading = f"## {package['name']} {package['version']}\n\n{package['license']}"
    return f"\n{heading}\n\n```text\n{text.read_text().strip()}\n```\n"


def cargo(*words: str) -> str:
    command = ["cargo", words[0], "--locked", *words[1:]]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
