"""Where the configuration files are, how they are read, and how variables in them are replaced.

The main file is, first found: the one that was named, the nearest `tekton.json` or `config/tekton.json` from the
working directory upward, `~/.tekton/config.json`. The other four lie beside it. In the working directory itself a
`components.json` or `config/components.json` alone is enough. What we may not look at does not exist (`os.path.isfile`,
where `Path.is_file` would raise): the home directory of another user must not keep anybody from starting.
"""

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tekton.utils.config_values import InvalidValueError
from tekton.utils.json_document import Document, parse
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_errors import ConfigurationError, Mistake
from tekton.utils.tekton_ids import nearest_name

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>\{[^}]*\}?))")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)", re.DOTALL)
_MAIN_NAMES = ("tekton.json", "config/tekton.json")
_COMPONENT_NAMES = ("components.json", "config/components.json")


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


def find_files(named: Path | None, name_source: str, cwd: Path, home: Path) -> ConfigFiles:
    """The files to read. *named* is a file or a directory that was asked for by *name_source*; it must exist."""
    if named is None:
        return _discovered(cwd, home)
    path = cwd / named
    if os.path.isdir(path):
        found = _first(path, _MAIN_NAMES) or _first(path, _COMPONENT_NAMES)
        if found is None:
            raise ConfigurationError([Mistake(name_source, 0, 0, "", f"no tekton.json or components.json in {path}")])
        return _beside(found)
    if not os.path.isfile(path):
        raise ConfigurationError([Mistake(name_source, 0, 0, "", f"no such file: {path}", _similar(path))])
    return _beside(path)


def read_document(path: Path, source: str) -> Document:
    """Parse a file; that it cannot be read is a mistake of the document."""
    try:
        return parse(path.read_bytes(), source)
    except OSError as error:
        return Document(source, mistakes=[Mistake(source, 0, 0, "", f"cannot be read: {error.strerror}")])


def readable_by_all(path: Path) -> bool:
    """True when every user of the machine may read the file."""
    return os.name == "posix" and bool(path.stat().st_mode & stat.S_IROTH)


def read_env_file(path: Path, source: str) -> tuple[dict[str, str], list[Mistake]]:
    """The variables of a file of NAME=value lines, and what is wrong with it.

    `#` begins a comment, `export` in front is allowed, values may be quoted as in a shell; nothing is replaced in them.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "it is not UTF-8 text"
        return {}, [Mistake(source, 0, 0, "", f"cannot be read: {reason}")]
    variables: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, value = _assignment(line)
        except ValueError as error:
            mistakes.append(Mistake(source, number, 1, "", str(error)))
        else:
            variables[name] = value
    return variables, mistakes


class Expander:
    """Replaces `${NAME}` and `${NAME:-default}`; `$$` is a dollar sign, and any other `$` stays.

    *variables* gives the variables that hold at a JSON pointer. Values of variables with secret names are remembered
    in `secrets`, so that they can be kept out of what is shown.
    """

    def __init__(self, variables: Callable[[str], Mapping[str, str]]) -> None:
        self.secrets: set[str] = set()
        self._variables = variables

    def __call__(self, text: str, pointer: str) -> str:
        variables = self._variables(pointer)
        return _VARIABLE.sub(lambda match: self._replace(match, variables), text)

    def _replace(self, match: re.Match[str], variables: Mapping[str, str]) -> str:
        name, default = match["name"], match["default"]
        if match["bad"]:
            advice = "write ${NAME} or ${NAME:-default}; $$ is a dollar sign"
            raise InvalidValueError(f"{match[0]!r} is not a variable", advice)
        if name is None:
            return "$"
        value = variables.get(name, "")
        if not value and default is not None:
            return str(default[2:])
        if name not in variables:
            raise InvalidValueError(f"the environment variable {name} is not set", self._advice(name, variables))
        if is_secret_name(name):
            self.secrets.add(value)
        return value

    @staticmethod
    def _advice(name: str, variables: Mapping[str, str]) -> str:
        if name == "PORT":
            return "give the component a port"
        nearest = nearest_name(name, variables)
        return f"did you mean {nearest}?" if nearest else f"set it, or write ${{{name}:-default}}"


def _discovered(cwd: Path, home: Path) -> ConfigFiles:
    for directory in (cwd, *cwd.parents):
        if (found := _first(directory, _MAIN_NAMES)) is not None:
            return _beside(found)
        if directory == cwd and (found := _first(cwd, _COMPONENT_NAMES)) is not None and _is_ours(found):
            return _beside(found)
    fallback = home / ".tekton" / "config.json"
    return _beside(fallback) if os.path.isfile(fallback) else ConfigFiles(cwd)


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


def _keys(path: Path) -> set[str]:
    root = read_document(path, "").root
    return set(root.value) if root is not None and isinstance(root.value, dict) else set()


def _holds_components(path: Path) -> bool:
    keys = _keys(path)
    return "components" in keys and "tekton" not in keys


def _is_ours(path: Path) -> bool:
    """Other tools have a components.json too; theirs holds other keys and nothing that resembles ours."""
    keys = _keys(path)
    return not keys or nearest_name("components", keys) is not None


def _similar(path: Path) -> str | None:
    if not os.path.isdir(path.parent):
        return None
    nearest = nearest_name(path.name, (entry.name for entry in path.parent.iterdir()))
    return f"did you mean {path.parent / nearest}?" if nearest else None


def _assignment(line: str) -> tuple[str, str]:
    match = _ASSIGNMENT.fullmatch(line.strip())
    if match is None:
        raise ValueError("expected NAME=value")
    name, text = match.groups()
    if not text.startswith(("'", '"')):
        return name, re.sub(r"\s+#.*", "", text).strip()
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = []
    if len(words) != 1:
        raise ValueError(f"the value of {name} is not quoted properly")
    return name, words[0]
