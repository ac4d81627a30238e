"""The data directory without the rest of the configuration, for who wants to reach what runs there.

A command with one question to a running system would spend more time on reading and checking five files than on all
else. Where the directory is written out, as `tekton init` does, it is taken from there. Everything else (a variable in
it, a main file that does not name it, a mistake) is left to the configuration.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tekton.utils.config_places import (
    DEFAULT_DATA_DIR,
    absolute_path,
    configured_files,
    environment_text,
    home_directory,
)


def find_data_dir(
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> Path:
    """The data directory that `TektonConfig.load` would find with the same arguments.

    A configuration that has been broken since does not matter, unless it leaves open which directory is meant; then
    this raises ConfigurationError.
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if cwd is None else Path(cwd).absolute()
    home = home_directory(environ)
    named = None if config is None else Path(config)
    files = configured_files(named, environ, directory, home)
    text = environment_text(environ, "TEKTON_DATA_DIR")
    base = directory
    if text is None and files.main is not None:
        text, base = _written_out(files.main), files.directory
    elif text is None:
        text = DEFAULT_DATA_DIR
    if text is None or "\0" in text:
        from tekton.utils.config_loader import ConfigLoader

        return ConfigLoader(environ, directory, home, {}).data_dir(named)
    return Path(absolute_path(text, base, home))


def _written_out(main: Path) -> str | None:
    """What the main file says, if nothing has to be replaced in it or said about it."""
    try:
        # Of two values the first counts, as it does for the configuration.
        document = json.loads(main.read_bytes(), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        text = document["tekton"]["data_dir"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return text if isinstance(text, str) and text.strip() and "$" not in text else None
