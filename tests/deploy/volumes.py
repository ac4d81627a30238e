"""Volumes as platforms give them to containers: their owners, groups and modes."""

import os
import subprocess
import tempfile
from pathlib import Path

FS_GROUP = 10001


def volume(place: Path, *, group: int) -> Path:
    """An empty volume as a platform gives it: root's, for a group."""
    place.mkdir()
    os.chown(place, 0, group)
    place.chmod(0o2770)
    return place


def named_volume(place: Path, name: str) -> Path:
    """A volume as Docker makes it: with owner and mode of the folder in the image on which it is mounted."""
    folder = place / f"volume-{name}"
    if not folder.exists():
        folder.mkdir()
        os.chown(folder, 10001, 0)
        folder.chmod(0o2770)
    return folder


def as_secret(place: Path, files: dict[str, str]) -> Path:
    """*files* as a kubelet mounts a secret: links to a folder that is replaced as a whole, readable by a group."""
    kept = place / "..2026"
    kept.mkdir(parents=True)
    (place / "..data").symlink_to("..2026")
    for name, text in files.items():
        (kept / name).write_text(text)
        os.chown(kept / name, 0, FS_GROUP)
        (kept / name).chmod(0o440)
        (place / name).symlink_to(f"..data/{name}")
    return place


def certificate() -> dict[str, str]:
    """A certificate of our own, and its key."""
    with tempfile.TemporaryDirectory() as directory:
        paths = Path(directory, "tls.crt"), Path(directory, "tls.key")
        name = ["-subj", "/CN=tekton-core-service", "-addext", "subjectAltName=DNS:tekton-core-service"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", paths[1]]
        made = ["openssl", "req", "-x509", "-days", "2", *name, *key, "-out", paths[0]]
        subprocess.run(made, check=True, capture_output=True)
        return {path.name: path.read_text() for path in paths}
