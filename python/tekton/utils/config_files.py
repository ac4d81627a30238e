"""How the configuration files are read, and how variables in them are replaced."""

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from tekton.utils.config_values import InvalidValueError
from tekton.utils.json_document import Document, parse
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_errors import Mistake
from tekton.utils.tekton_ids import nearest_name

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>\{[^}]*\}?))")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)", re.DOTALL)


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
