"""Writing a file that only its owner may read: whole and durable, or not at all."""

import os
from pathlib import Path
from typing import Final

_MODE: Final = 0o600


def write_privately(path: Path, content: bytes) -> None:
    """Replace *path* by *content*. Blocks for as long as the disk does. Raises OSError; then nothing has changed."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
