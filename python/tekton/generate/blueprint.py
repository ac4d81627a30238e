"""What is to be deployed: the components of a configuration, as they are written there.

What stands in components.json as `${NAME}` is for whoever starts the system, and so it stays open in what is generated:
nothing of the environment in which it is generated comes into it, and no secret does.
"""

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tekton.generate.settings import Settings, settings
from tekton.generate.variables import is_reference, references
from tekton.utils.config_components import ComponentSpec
from tekton.utils.config_ports import variable_prefix
from tekton.utils.redaction import is_secret_name
from tekton.utils.tekton_config import ProbeSpec, TektonConfig

ROOT = "/app"
"""Where the folder of the configuration lies in the image."""
DATA = "/data"
USER = 10001
CREDENTIAL = "/credential/key"
CORE = "tekton-core"
PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
"""Where the control plane may call components."""

_REQUIREMENT = re.compile(r"-.*|[A-Za-z0-9][\w.-]*(\[[\w,. -]*\])?\s*([<>=!~;@].*)?")


class Generated(NamedTuple):
    """Files by name, and what to show of them when nothing is written. Those in `private` may hold secrets."""

    files: dict[str, str]
    shown: str
    private: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Part:
    """One component. `spec` is checked; the rest is as it was written, with nothing replaced but its own port."""

    spec: ComponentSpec
    command: tuple[str, ...]
    variables: Mapping[str, str]
    env_files: tuple[str, ...]
    directory: str
    runs_once: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def prefix(self) -> str:
        """What the variables about it begin with."""
        return variable_prefix(self.spec.name)

    def place(self) -> dict[str, str]:
        """The variables that say where it listens, and to whom it belongs, in a container."""
        port = {} if self.spec.port is None else {"PORT": str(self.spec.port)}
        more = {f"{self.prefix}_MAX_INSTANCES": str(self.spec.replicas + 1)} if self.spec.replicas > 1 else {}
        return {
            "TEKTON_CREDENTIAL_FILE": CREDENTIAL,
            **port,
            f"{self.prefix}_HOST": "0.0.0.0",
            **more,
            # Every container is another instance.
            f"{self.prefix}_FORGET_AFTER": "3600",
        }


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A system. `image` is the name of its image, `version` that of Tekton.

    `data_dir` is None where nobody has chosen one, or whose it is stands in a variable of whoever runs it.
    """

    name: str
    image: str
    version: str
    directory: Path
    data_dir: Path | None
    settings: Settings
    requirements: bool
    parts: tuple[Part, ...]

    def port_of(self, name: str) -> int | None:
        """The port of a component; None when it has none, or is not here."""
        return next((part.spec.port for part in self.parts if part.name == name), None)

    def addresses(self, part: Part, service: Callable[[str], str]) -> dict[str, str]:
        """HERMES_URL and so on: where the components are that *part* depends on; *service* names their hosts."""
        reached = {need.component: self.port_of(need.component) for need in part.spec.dependencies}
        return {
            f"{variable_prefix(name)}_URL": f"http://{service(name)}:{port}/api"
            for name, port in reached.items()
            if port is not None
        }


def blueprint(config: TektonConfig, image: str, version: str) -> Blueprint:
    """The system that *config* describes. Reads its files again, for what was replaced in them."""
    files = config.files
    whole = {} if files.components is None else json.loads(files.components.read_bytes())
    written = whole.get("components", {})
    awaited = {
        need.component for needs in config.dependencies.values() for need in needs if need.condition == "completed"
    }
    return Blueprint(
        name=image.rpartition("/")[2].partition(":")[0],
        image=image,
        version=version,
        directory=files.directory,
        data_dir=config.data_dir if _is_chosen(config) else None,
        settings=settings(config, whole.get("fallbacks", {})),
        requirements=_has_requirements(files.directory / "requirements.txt"),
        parts=tuple(
            _part(spec, written[name], files.directory, name in awaited) for name, spec in config.components.items()
        ),
    )


def is_secret(name: str, text: str) -> bool:
    """True for a variable that has its secret written out; one that refers to another variable has not."""
    return is_secret_name(name) and not is_reference(text)


def probe_command(probe: ProbeSpec, port: int | None) -> list[str] | None:
    """The command that asks what *probe* asks, within a container; None for one that nobody outside can ask."""
    if probe.exec is not None:
        return list(probe.exec)
    if probe.http is not None:
        url = f"http://127.0.0.1:{port}{probe.http}" if probe.http.startswith("/") else probe.http
        return ["python", "-c", f"import urllib.request as r; r.urlopen({url!r}, timeout={probe.timeout:g})"]
    if probe.tcp is not None:
        asked = port if probe.tcp is True else probe.tcp
        return ["python", "-c", f"import socket; socket.create_connection(('127.0.0.1', {asked}), {probe.timeout:g})"]
    return None


def whole_seconds(seconds: float) -> int:
    """*seconds* for those who count in whole ones."""
    return max(1, math.ceil(seconds))


def _is_chosen(config: TektonConfig) -> bool:
    """True when the data directory stands in tekton.json or on the command line, as it is for everybody."""
    source = config.sources["tekton.data_dir"]
    if config.files.main is None or source.startswith(("env ", "default", "command line")):
        return source.startswith("command line")
    text = str(json.loads(config.files.main.read_bytes())["tekton"]["data_dir"])
    return not text.startswith("~") and not any(references(text))


def _part(spec: ComponentSpec, written: Mapping[str, Any], directory: Path, awaited: bool) -> Part:
    command = written["command"]
    words = shlex.split(command) if isinstance(command, str) else command
    env_file = written.get("env_file", [])
    return Part(
        spec=spec,
        command=tuple(_with_port(word, spec.port) for word in words),
        variables={name: _with_port(text, spec.port) for name, text in written.get("env", {}).items()},
        env_files=(env_file,) if isinstance(env_file, str) else tuple(env_file),
        directory=_inside(Path(spec.cwd), directory),
        runs_once=awaited or spec.restart.policy == "no",
    )


def _with_port(text: str, port: int | None) -> str:
    return text if port is None else re.sub(r"(?<!\$)\$\{PORT(:-[^}]*)?\}", str(port), text)


def _inside(path: Path, directory: Path) -> str:
    """Where *path* is in the image; what does not lie below *directory* is where it is."""
    if not path.is_relative_to(directory):
        return str(path)
    below = path.relative_to(directory)
    return ROOT if below == Path() else f"{ROOT}/{below.as_posix()}"


def _has_requirements(path: Path) -> bool:
    """True when *path* is what pip takes; others have files of that name, too."""
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    return any(lines) and all(_REQUIREMENT.fullmatch(line) for line in lines if line)
