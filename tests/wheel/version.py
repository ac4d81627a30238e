"""May this version be released? `version.py 1.2.3`: it is that of the sources, and the change log tells of it.

The version stands in `Cargo.toml`, and in the manifests for production, which name an image.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = "deploy/kubernetes/overlays/production/kustomization.yaml"


def main(wanted: str, root: Path = ROOT) -> None:
    ours = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    if wanted != ours:
        sys.exit(f"the sources are version {ours}, not {wanted or 'one that was named: VERSION=…'}")
    tags = re.findall(r"newTag: *(\S+)", (root / PRODUCTION).read_text())
    if tags != [ours]:
        sys.exit(f"{PRODUCTION} has the image {', '.join(tags)}, and the sources are version {ours}")
    changes = (root / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[?{re.escape(wanted)}\]? - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        sys.exit(f"CHANGELOG.md has no heading '## {wanted} - DATE'")
    print(f"ok  {wanted}")


if __name__ == "__main__":
    main(*sys.argv[1:2] or [""])
