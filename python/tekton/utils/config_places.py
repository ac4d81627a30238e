"""Where the configuration is: the files, the home directory, and what variables of the environment say of them.

The main file is, first found: the one that was named, the nearest `tekton.json` or `config/tekton.json` from the
working directory upward, `~/.tekton/config.json`. The other four lie beside it. In the working directory itself a
`components.json` or `config/components.json` alone is enough. What was merely found is used only if all of it is ours
(`config_trust`). What we may not look at does not exist (`os.path.isfile`,
where `Path.is_file` would raise): the home directory of another user must not keep anybody from starting.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tekton.utils.config_trust import all_trusted, trusted_users
from tekton.utils.tekton_errors import ConfigurationError, Mistake
from tekton.utils.tekton_ids import nearest_name

if TYPE_CHECKING:
    from tekton.utils.json_document import Node

DEFAULT_DATA_DIR = "~/.tekton/data"
_FILE_VARIABLE = "TEKTON_CONFIG_FILE"
_MAIN_NAMES = ("tekton.json", "config/tekton.json")
_COMPONENT_NAMES = ("components.json", "config/components.json")
_EMPTY: Mapping[str, str] = {}
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+")


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """The files that exist, None for those that do not. `directory` is what relative paths in them refer to."""

    directory: Path
    main: Path | None = None
    components: Path | None = None
    dependencies: Path | None = None
    ports: Path | None = None
    security: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Those that exist, in the order in which they are read."""
        candidates = (self.main, self.components, self.dependencies, self.ports, self.security)
        return tuple(path for path in candidates if path is not None)


def configured_files(named: Path | None, environ: Mapping[str, str], cwd: Path, home: Path) -> ConfigFiles:
    """The files to read: what the command line has *named*, else TEKTON_CONFIG_FILE, else the usual places.

    Raises ConfigurationError when something was named that does not exist.
    """
    if named is not None:
        return find_files(named, "command line", cwd, home, environ)
    text = environment_text(environ, _FILE_VARIABLE)
    asked = None if text is None else Path(absolute_path(text, cwd, home))
    return find_files(asked, f"env {_FILE_VARIABLE}", cwd, home, environ)


def find_files(
    named: Path | None, name_source: str, cwd: Path, home: Path, environ: Mapping[str, str] = _EMPTY
) -> ConfigFiles:
    """The files to read. *named* is a file or a directory that was asked for by *name_source*; it must exist."""
    if named is None:
        return _discovered(cwd, home, trusted_users(environ))
    path = cwd / named
    if os.path.isdir(path):
        found = _first(path, _MAIN_NAMES) or _first(path, _COMPONENT_NAMES)
        if found is None:
            raise ConfigurationError([Mistake(name_source, 0, 0, "", f"no tekton.json or components.json in {path}")])
        return _beside(found)
    if not os.path.isfile(path):
        raise ConfigurationError([Mistake(name_source, 0, 0, "", f"no such file: {path}", _similar(path))])
    return _beside(path)


def environment_text(environ: Mapping[str, str], variable: str) -> str | None:
    """The value of a variable; None when it is not set or empty.

    Kubernetes sets `<SERVICE>_PORT=tcp://10.0.0.1:8001` for its services. That is not a setting of ours; it counts
    as not set.
    """
    text = environ.get(variable, "").strip()
    return None if not text or (variable.endswith("_PORT") and _SERVICE_LINK.fullmatch(text)) else text


def home_directory(environ: Mapping[str, str]) -> Path:
    """The home directory of the user; `/` for one who has none."""
    home = environment_text(environ, "HOME")
    try:
        return Path(home) if home else Path.home()
    except RuntimeError:  # a user without an entry in the password file, as in some containers
        return Path("/")


def absolute_path(text: str, directory: Path, home: Path) -> str:
    """*text* as an absolute path: `~` is *home*, everything else is relative to *directory*."""
    path = home / text[2:] if text.startswith("~/") else home if text == "~" else directory / text
    return os.path.normpath(path)


def _discovered(cwd: Path, home: Path, users: frozenset[int]) -> ConfigFiles:
    for found in _candidates(cwd, home):
        files = _beside(found)
        # One file of several is no configuration: what makes it safe may be in another.
        if all_trusted(files.paths(), users):
            return files
    return ConfigFiles(cwd)


def _candidates(cwd: Path, home: Path) -> Iterator[Path]:
    for directory in (cwd, *cwd.parents):
        found = _first(directory, _MAIN_NAMES) or (_components_alone(cwd) if directory == cwd else None)
        if found is not None:
            yield found
    fallback = home / ".tekton" / "config.json"
    if os.path.isfile(fallback):
        yield fallback


def _components_alone(directory: Path) -> Path | None:
    found = _first(directory, _COMPONENT_NAMES)
    return found if found is not None and _is_ours(found) else None


def _beside(path: Path) -> ConfigFiles:
    """The files in the directory of *path*, which is the main file or stands for components.json."""
    directory = path.parent

    def beside(name: str) -> Path | None:
        return candidate if os.path.isfile(candidate := directory / name) else None

    holds_components = path.name == "components.json" or (path.name != "tekton.json" and _holds_components(path))
    return ConfigFiles(
        directory=directory,
        main=beside("tekton.json") if holds_components else path,
        components=path if holds_components else beside("components.json"),
        dependencies=beside("dependencies.json"),
        ports=beside("ports.json"),
        security=beside("security.json"),
    )


def _first(directory: Path, names: tuple[str, ...]) -> Path | None:
    return next((path for name in names if os.path.isfile(path := directory / name)), None)


def _members(path: Path) -> "dict[str, Node]":
    from tekton.utils.config_files import read_document

    root = read_document(path, "").root
    return root.value if root is not None and isinstance(root.value, dict) else {}


def _holds_components(path: Path) -> bool:
    members = _members(path)
    return "components" in members and "tekton" not in members


def _is_ours(path: Path) -> bool:
    """Other tools have a components.json too; theirs holds other keys and nothing that resembles ours.

    Components outside of a `components` are a mistake of ours, and not somebody else's file.
    """
    members = _members(path)
    return not members or nearest_name("components", members) is not None or any(map(_holds_command, members.values()))


def _holds_command(node: "Node", depth: int = 2) -> bool:
    """True for something like a component, or a table of such."""
    if depth == 0 or not isinstance(node.value, dict):
        return False
    return "command" in node.value or any(_holds_command(member, depth - 1) for member in node.value.values())


def _similar(path: Path) -> str | None:
    if not os.path.isdir(path.parent):
        return None
    nearest = nearest_name(path.name, (entry.name for entry in path.parent.iterdir()))
    return f"did you mean {path.parent / nearest}?" if nearest else None
