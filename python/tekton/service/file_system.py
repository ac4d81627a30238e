"""What kind of file system the data directory is on, and what that means for what is promised about it."""

from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

_DOUBTS = {
    "tmpfs": "it is gone when the machine stops",
    "ramfs": "it is gone when the machine stops",
    "nfs": "its locks and syncs may not be what a database needs",
    "nfs4": "its locks and syncs may not be what a database needs",
    "cifs": "its locks and syncs may not be what a database needs",
    "smb3": "its locks and syncs may not be what a database needs",
    "9p": "its locks and syncs may not be what a database needs",
}


def doubt(directory: Path) -> str | None:
    """Why what is kept in *directory* may not last, as a sentence; None where nothing speaks against it."""
    kind = file_system_type(directory)
    return f"{directory} is on {kind}: {_DOUBTS[kind]}" if kind in _DOUBTS else None


def file_system_type(directory: Path) -> str | None:
    """The type of the file system (`ext4`) that *directory* is on; None where the system does not tell."""
    try:
        lines = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    path = directory.resolve()
    found: tuple[int, str] | None = None
    for line in lines:
        # 36 35 98:0 /root /mount/point options shared:1 - ext4 /dev/sda1 rw; see proc(5). The last of two wins.
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), after.split()[0]
    return found[1] if found else None
