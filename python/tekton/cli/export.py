"""The verb export: one file with all that is needed to find out what went wrong, without secrets.

Everything in it is text, and all text is scrubbed: of the secrets of the configuration and of the environment, of the
credential, and of whatever looks like a secret. Without a readable configuration its secrets are not known, and then no
logs are packed.
"""

import io
import os
import platform
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from tekton.cli.checks import all_checks
from tekton.cli.client import Client, component_path, connect, data_dir, load_config
from tekton.cli.instance import Instance
from tekton.cli.options import Target, target_options
from tekton.cli.problems import FileProblemError, PathTakenError
from tekton.cli.render import harmless, plural, say, size, to_json
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.redaction import redact_json, scrub
from tekton.utils.tekton_errors import ConfigurationError, TektonError

_LOG_LINES = 2000
_EVENTS = 1000


class Item(NamedTuple):
    """A file of the bundle."""

    name: str
    text: str


class Bundle:
    """The contents of a bundle, and what is missing from it (`gaps`), by name with the reason."""

    def __init__(self, target: Target) -> None:
        from tekton.utils.tekton_config import environment_secrets

        self.gaps: dict[str, str] = {}
        self._target = target
        self._instance = Instance(data_dir(target))
        self._secrets = {*environment_secrets(), *filter(None, (self._instance.credential,))}

    def items(self) -> Iterator[Item]:
        """All files, scrubbed."""
        configured = self._configuration()
        yield self._json("doctor.json", [check._asdict() for check in all_checks(self._target)])
        if configured is not None:
            yield configured
            yield from self._logs()
        yield from self._from_control_plane()
        yield self._json("about.json", self._about())

    def _about(self) -> dict[str, Any]:
        from tekton import __version__

        return {
            "made_at": SYSTEM_CLOCK.time(),
            "version": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "files": self._sizes(),
            "missing": self.gaps,
        }

    def _sizes(self) -> dict[str, int]:
        """What lies in the data directory, in bytes: the registry and the history among it."""
        try:
            return {
                file.name: file.stat().st_size for file in sorted(self._instance.data_dir.iterdir()) if file.is_file()
            }
        except OSError as error:
            self.gaps["sizes of files"] = str(error.strerror)
            return {}

    def _configuration(self) -> Item | None:
        try:
            config = load_config(self._target)
        except ConfigurationError as error:
            self.gaps["configuration.json"] = str(error)
            self.gaps["logs"] = "the configuration cannot be read, so that nobody knows which secrets could be in them"
            return None
        self._secrets |= config.secrets
        shown = {row.name: {"value": row.value, "origin": row.source} for row in config.show()}
        return self._json("configuration.json", shown)

    def _logs(self) -> Iterator[Item]:
        from tekton.supervisor.logs import tail

        for path in sorted(self._instance.log_dir.glob("*.log")):
            try:
                lines = tail(path, _LOG_LINES)
            except OSError as error:
                self.gaps[f"logs/{path.name}"] = str(error.strerror)
                continue
            yield Item(f"logs/{path.name}", "".join(f"{scrub(line, self._secrets)}\n" for line in lines))

    def _from_control_plane(self) -> Iterator[Item]:
        try:
            client = connect(self._target)
            system = client.get("/api/system")
        except TektonError as error:
            self.gaps["system.json, graph.json, events.jsonl, why"] = str(error)
            return
        yield self._json("system.json", system)
        yield self._json("graph.json", client.get("/api/graph"))
        names = [view["component_id"] for view in system["components"]]
        yield Item("events.jsonl", "".join(self._line(entry) for entry in _events(client, names)))
        for view in system["components"]:
            if view["state"] != "ready":
                name = view["component_id"]
                yield self._json(f"why/{name}.json", client.get(component_path(name, "why")))

    def _json(self, name: str, document: object) -> Item:
        return Item(name, to_json(redact_json(document, self._secrets, scrub), indent=2) + "\n")

    def _line(self, entry: object) -> str:
        return to_json(redact_json(entry, self._secrets, scrub)) + "\n"


def _events(client: Client, names: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in names:
        try:
            found += client.get(component_path(name, "history"), {"limit": _EVENTS})["items"]
        except TektonError:
            continue  # configured, but nothing has happened to it yet
    return sorted(found, key=lambda entry: entry["revision"])[-_EVENTS:]


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), required=False)
@target_options
def export(path: Path | None, target: Target) -> None:
    """Write a support bundle.

    A .tar.gz with versions, the configuration as it counts, the last lines of all logs, states and history, and what
    doctor finds. Secrets are taken out of all of it; look through it before you give it away all the same. Without a
    PATH it gets a name after the time.
    """
    place = path or Path(f"tekton-{_stamp(SYSTEM_CLOCK.time())}.tar.gz")
    bundle = Bundle(target.on_this_machine("export"))
    items = list(bundle.items())
    _write(place, items)
    click.echo(place)
    say(f"{plural(len(items), 'file')}, {size(place.stat().st_size)}; look through it before you give it away")
    for name, reason in bundle.gaps.items():
        say(f"without {name}: {harmless(reason)}")


def _write(place: Path, items: list[Item]) -> None:
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for item in items:
                _add(archive, place.name.removesuffix(".tar.gz").removesuffix(".tgz"), item)
    except FileExistsError as error:
        raise PathTakenError(place) from error
    except OSError as error:
        raise FileProblemError(place, f"cannot be written: {error.strerror}") from error


def _add(archive: tarfile.TarFile, folder: str, item: Item) -> None:
    data = item.text.encode("utf-8", "replace")
    info = tarfile.TarInfo(f"{folder}/{item.name}")
    info.size, info.mtime = len(data), int(SYSTEM_CLOCK.time())
    archive.addfile(info, io.BytesIO(data))


def _stamp(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d-%H%M%S")
