"""Executes the steps of a Dockerfile without a container engine, in root file systems that bubblewrap enters.

`FROM python:…-slim` is Debian with its own Python, made by mmdebstrap once and kept in a cache; `FROM debian` has curl,
too. How this machine reaches its package index (pip's settings, certificates, proxies) is passed in for the steps that
build, and is not in the result.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_steps import Stage, Step, assignments, read

PACKAGES = "python3,python3-venv,ca-certificates,passwd,curl"
CURL = "usr/bin/curl"
DEBIAN = "trixie"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PIP_FILES = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")
PASSED = ("PIP_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass
class Image:
    """A root file system, and what the Dockerfile says of running it."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0"
    directory: str = "/"
    volumes: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


class NoDebianError(Exception):
    """There is no Debian to be had."""


def base(cache: Path) -> Path:
    """A Debian with Python, from *cache* if it is there. Raises NoDebianError."""
    root = cache / f"{DEBIAN}-python-curl"
    if (root / "usr/local/bin/python").is_symlink():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    options = [
        "--variant=apt",
        f"--include={PACKAGES}",
        "--quiet",
        '--aptopt=Acquire::Languages "none"',
        *_apt_options(),
    ]
    for mirror in _mirrors():
        shutil.rmtree(root, ignore_errors=True)
        made = subprocess.run(["mmdebstrap", *options, DEBIAN, root, *mirror], check=False, capture_output=True)
        if made.returncode == 0:
            break
    else:
        raise NoDebianError("no Debian could be fetched")
    for own in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list"):
        (root / own).unlink(missing_ok=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def _mirrors() -> list[list[str]]:
    """Where this machine has its packages from, if it is a Debian; else where everybody has them from."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    named = [file for file in files if file.suffix in (".list", ".sources") and file.is_file()]
    text = "\n".join(file.read_text(errors="replace") for file in named)
    own = re.findall(r"^(?:deb(?: \[.*?\])?|URIs:) +(\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
    return [*([one] for one in dict.fromkeys(own)), []]


def _apt_options() -> list[str]:
    """How this machine reaches its packages."""
    files = sorted(Path("/etc/apt/apt.conf.d").glob("*")) if Path("/etc/apt/apt.conf.d").is_dir() else []
    return [f"--aptopt={file}" for file in files if "Acquire::http" in file.read_text(errors="replace")]


def build(dockerfile: Path, context: Path, cache: Path, place: Path, packages: Path | None = None) -> Image:
    """Execute *dockerfile*; the image of its last stage. Its files are below *place*.

    *packages* is a folder in which pip looks for packages, too.
    """
    roots: dict[str, Path] = {}
    image = None
    place.mkdir(parents=True)
    for number, stage in enumerate(read(dockerfile.read_text())):
        image = Image(place / f"stage-{number}")
        subprocess.run(["cp", "-a", "--reflink=auto", base(cache), image.root], check=True)
        if stage.base != "debian":
            (image.root / CURL).unlink()
        _build_stage(stage, image, context, roots, packages)
        roots[stage.name or str(number)] = image.root
    assert image is not None
    return image


def _build_stage(stage: Stage, image: Image, context: Path, roots: Mapping[str, Path], packages: Path | None) -> None:
    assert stage.base.startswith("python:") or stage.base == "debian", stage.base
    for step in stage.steps:
        if step.name == "RUN":
            _run(image, step, packages)
        elif step.name == "COPY":
            _copy(image, step, roots.get(step.options.get("from", "")), context)
        else:
            _note(image, step)


def _note(image: Image, step: Step) -> None:
    """What *step* says of running the image."""
    match step.name:
        case "ENV":
            image.environment |= {name: _expanded(value, image) for name, value in assignments(step).items()}
        case "USER":
            image.user = step.text
        case "WORKDIR":
            image.directory = step.text
            (image.root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "VOLUME":
            image.volumes = step.words
        case "CMD":
            image.command = step.command
        case "HEALTHCHECK":
            image.health = step.command


def _expanded(text: str, image: Image) -> str:
    return text.replace("$PATH", image.environment["PATH"])


def _run(image: Image, step: Step, packages: Path | None) -> None:
    entering = ["bwrap", "--unshare-pid", "--bind", image.root, "/"]
    entering += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]
    reached = ["--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf"]
    for name in PIP_FILES:
        if (path := Path(name).expanduser()).is_file():
            # All that pip reads of files, in the one place where it looks for every user.
            reached += ["--ro-bind", str(path), "/etc/pip.conf"]
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED)}
    for path in _paths_in([*passed.values(), *_configured()]):
        reached += ["--ro-bind", path, path]
    if packages is not None:
        passed["PIP_FIND_LINKS"] = f"{passed.get('PIP_FIND_LINKS', '')} /packages".strip()
        reached += ["--ro-bind", str(packages), "/packages"]
    variables = {"PIP_QUIET": "1", **passed, **image.environment}
    settings = [word for name, value in variables.items() for word in ("--setenv", name, value)]
    directory = ["--chdir", image.directory]
    command = [*entering, *reached, "--clearenv", *settings, *directory, *step.command]
    if (status := subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode) != 0:
        # Not the command itself: what is passed in may have a password in it.
        sys.exit(f"RUN {step.text}: exit status {status}")


def _configured() -> list[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return [line.partition("=")[2].strip("'") for line in listed.stdout.splitlines()]


def _paths_in(values: list[str]) -> Iterator[str]:
    """The files and folders that settings name."""
    words = {word.removeprefix("file://") for value in values for word in value.split()}
    return iter(sorted(word for word in words if word.startswith("/") and Path(word).exists()))


def _copy(image: Image, step: Step, root: Path | None, context: Path) -> None:
    *sources, target = step.words
    destination = image.root / target.lstrip("/")
    for source in sources:
        for found in [root / source.lstrip("/")] if root else _in_context(context, source):
            if target.endswith("/") or len(sources) > 1:
                destination.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["cp", "-a", "--no-target-directory" if found.is_dir() else "--", found, destination], check=True
            )
            if root is None:
                subprocess.run(["chown", "--recursive", "0:0", destination], check=True)


def _in_context(context: Path, pattern: str) -> list[Path]:
    """What *pattern* means, as far as .dockerignore lets it through."""
    found = [context] if pattern == "." else sorted(context.glob(pattern))
    sent = [path for path in found if path == context or _is_sent(context, str(path.relative_to(context)))]
    assert sent, f"nothing is sent for COPY {pattern}"
    return sent


def _is_sent(context: Path, name: str) -> bool:
    file = context / ".dockerignore"
    sent = True
    for line in file.read_text().splitlines() if file.exists() else ():
        if not line.startswith("#") and fnmatch.fnmatch(name, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent
