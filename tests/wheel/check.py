"""Is what we built what strangers can install? `check.py [OPTION] DIST [PYTHON…]` tries the wheel in DIST.

The wheel is audited (which systems it runs on, whether it keeps to the stable ABI, how large its extension is), then
installed for each PYTHON into an empty environment, from wheels only, and tried from an empty folder: no sources, no
compiler. Each PYTHON has to be there; where none is named, it is those of `PYTHONS` that are. Where DIST has the
sources, too, they are built and tried with the first of them: that needs cargo. It runs with nothing but the standard
library, wherever DIST is; the audit needs auditwheel and abi3audit beside the interpreter that runs it.

OPTION is `--only-audit` or `--no-audit`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

MAX_EXTENSION = 6_000_000
MAX_INSTALLED = 86_000_000
"""Not the 80 MB that we want, but what our dependencies are now: it is not to become more."""
MAX_DISTRIBUTIONS = 25
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")


def main(dist: Path, pythons: list[str], *, audited: bool = True, tried: bool = True) -> None:
    (wheel,) = dist.glob("*.whl")
    if audited:
        audit(wheel)
    found = interpreters(pythons) if tried else []
    for archive, python in [(wheel, each) for each in found] + [(each, found[0]) for each in dist.glob("*.tar.gz")]:
        with tempfile.TemporaryDirectory(prefix="tekton-wheel-") as directory:
            try_it(archive.resolve(), python, Path(directory))


def audit(wheel: Path) -> None:
    """The platform in its name is true, and so is `abi3`; its extension is small enough."""
    tools = Path(sysconfig.get_path("scripts"))
    claimed = wheel.stem.rpartition("-")[2]
    if "linux" in claimed:
        shown = run([tools / "auditwheel", "show", wheel])
        (claimed,) = re.findall(r"(?:many|musl)linux_\d+_\d+_\w+(?=\.whl)", wheel.name)
        if f'"{claimed}"' not in " ".join(shown.split()):
            sys.exit(f"{wheel.name} is no {claimed}:\n{shown}")
    run([tools / "abi3audit", "--strict", wheel])
    with zipfile.ZipFile(wheel) as archive:
        (extension,) = (one for one in archive.infolist() if Path(one.filename).match("tekton/_native*.*[od]"))
    if extension.file_size > MAX_EXTENSION:
        sys.exit(f"too much: {extension.filename} has {extension.file_size} bytes")
    print(f"ok  {wheel.name}: {claimed}, stable ABI, extension of {extension.file_size / 1e6:.1f} MB")


def interpreters(named: list[str]) -> list[str]:
    """The paths of those that are named, or else of those of `PYTHONS` that are here."""
    found = {name: interpreter(name) for name in named or PYTHONS}
    missing = ", ".join(name for name, path in found.items() if path is None)
    here = [path for path in found.values() if path is not None]
    if missing and (named or not here):
        sys.exit(f"not here: {missing}")
    if missing:
        print(f"--  not tried, since they are not here: {missing}", flush=True)
    return here


def interpreter(name: str) -> str | None:
    """The path of an interpreter of that name, also where only pyenv has it."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    kept = sorted(versions.glob(f"{name.removeprefix('python')}.*/bin/{name}"))
    return str(kept[-1]) if kept else shutil.which(name)


def try_it(archive: Path, python: str, directory: Path) -> None:
    """Install it, look at its size, and let it try itself."""
    environment, elsewhere = directory / "environment", directory / "elsewhere"
    elsewhere.mkdir()
    run([python, "-m", "venv", environment])
    installed = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    before = size(environment)
    only = ["--only-binary", ":all:"] if archive.suffix == ".whl" else []
    run([installed, "-m", "pip", "install", "--quiet", *only, archive], cwd=elsewhere)
    listed = json.loads(run([installed, "-m", "pip", "list", "--format", "json"], cwd=elsewhere))
    names = sorted(one["name"] for one in listed if one["name"] not in ("pip", "setuptools"))
    unpacked = size(environment) - before
    what = f"{archive.suffix[1:]}, {Path(python).name}"
    print(f"ok  {what}: {len(names)} distributions, {unpacked / 1e6:.1f} MB", flush=True)
    if unpacked > MAX_INSTALLED or len(names) > MAX_DISTRIBUTIONS:
        sys.exit(f"too much: {unpacked} bytes, of {', '.join(names)}")
    print(run([installed, "-m", "tekton.testing.smoke"], cwd=elsewhere), end="", flush=True)


def size(directory: Path) -> int:
    """Bytes of the files in *directory*, compiled ones left out."""
    files = (path for path in directory.rglob("*") if path.suffix != ".pyc" and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file())


def run(command: list[str | Path], cwd: Path | None = None) -> str:
    """What a command prints; ends everything when it fails."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TEKTON_"))}
    done = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    options = {one for one in sys.argv[1:] if one.startswith("--")}
    directory, *rest = (one for one in sys.argv[1:] if one not in options)
    main(Path(directory), rest, audited="--no-audit" not in options, tried="--only-audit" not in options)
