"""What an installation consists of, as CycloneDX: `sbom.py FILE` writes it, with who needs whom.

The packages are those of `deploy/requirements.txt`, with their hashes, and the crates those that are linked into the
extension (`THIRD_PARTY.md` has the same). What depends on what stands in the comments of the one and in what cargo
says of the other. It runs beside cyclonedx-py, whose library checks the result.
"""

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

from notices import cargo, linked

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "deploy" / "requirements.txt"
FORMAT = "1.6"
OURS = "tekton-core"
CRATE = "tekton-native"

Needs = dict[str, set[str]]
"""Who (by its reference in the document) needs whom."""


def main(file: Path) -> None:
    document = packages()
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    crates = linked()
    text = json.dumps(merged(document, version, REQUIREMENTS.read_text(), crates, resolved(crates)), indent=2)
    check(text)
    file.write_text(text + "\n")
    print(f"ok  {file.name}: {len(json.loads(text)['components'])} components, {len(crates)} of them crates")


def packages() -> dict[str, Any]:
    """What cyclonedx-py makes of the requirements."""
    tool = Path(sysconfig.get_path("scripts"), "cyclonedx-py")
    command = [tool, "requirements", REQUIREMENTS, "--pyproject", ROOT / "pyproject.toml", "--spec-version", FORMAT]
    made: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return made


def merged(
    document: dict[str, Any], version: str, requirements: str, crates: list[dict[str, Any]], needs: Needs
) -> dict[str, Any]:
    """The *document* with its *version*, the *crates*, and who needs whom: *needs* of the crates, by their names."""
    root = document["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{OURS}@{version}"}
    of_package = {normal(one["name"]): one["bom-ref"] for one in document["components"]} | {OURS: root["bom-ref"]}
    of_crate = {one["name"]: purl(one) for one in crates} | {CRATE: root["bom-ref"]}
    document["components"] += map(component, crates)
    graph: Needs = {reference: set() for reference in [*of_package.values(), *of_crate.values()]}
    for names, who in ((required(requirements), of_package), (needs, of_crate)):
        for name, others in names.items():
            graph[who[name]] |= {who[other] for other in others}
    document["dependencies"] = [{"ref": one, "dependsOn": sorted(graph[one])} for one in sorted(graph)]
    return document


def required(requirements: str) -> Needs:
    """Which package needs which, by what `# via` says below each."""
    needs: Needs = {}
    for name, below in re.findall(r"^([\w.-]+)==.*\n((?:[ ].*\n)*)", requirements, re.MULTILINE):
        _, _, via = below.partition("# via")
        for other in re.findall(r"[a-z][\w.-]*(?= \(pyproject\.toml\)|$)", via, re.MULTILINE):
            needs.setdefault(normal(other), set()).add(normal(name))
    return needs


def resolved(crates: list[dict[str, Any]]) -> Needs:
    """Which crate that is linked needs which, by their names."""
    found = json.loads(cargo("metadata", "--format-version", "1"))
    name_of = {one["id"]: one["name"] for one in found["packages"]}
    inner = {one["name"] for one in found["packages"] if not one["source"]}
    known = {one["name"] for one in crates} | inner
    nodes = found["resolve"]["nodes"]
    direct = {name_of[one["id"]]: {name_of[each] for each in one["dependencies"]} & known for one in nodes}
    needs = {one["name"]: direct[one["name"]] - inner for one in crates}
    # Crates of our own are no components: what one of them needs, the extension needs.
    return needs | {CRATE: set().union(*(direct[name] - inner for name in inner if name in reached(CRATE, direct)))}


def reached(start: str, direct: Needs) -> set[str]:
    """*start*, and all that it needs at any remove."""
    seen: set[str] = set()
    open_ = {start}
    while open_:
        seen |= (now := open_)
        open_ = set().union(*(direct[name] for name in now)) - seen
    return seen


def component(crate: dict[str, Any]) -> dict[str, Any]:
    """A crate as a component."""
    named = {"type": "library", "bom-ref": purl(crate), "name": crate["name"], "version": crate["version"]}
    return named | {"purl": purl(crate), "licenses": [{"expression": crate["license"].replace("/", " OR ")}]}


def purl(crate: dict[str, Any]) -> str:
    return f"pkg:cargo/{crate['name']}@{crate['version']}"


def normal(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check(text: str) -> None:
    """Ends everything when it is no CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if (found := JsonStrictValidator(SchemaVersion.from_version(FORMAT)).validate_str(text)) is not None:
        sys.exit(f"it is no CycloneDX: {found}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
