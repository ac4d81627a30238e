"""A container as a process: `docker run` in the foreground, with what a compose file says about the service."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tekton.cli.importers.draft import Draft, ImportedError, items, replaced, table, text, words_of

_PORT = re.compile(r"(?:(?:\[[^\]]*\]|\d+(?:\.\d+){3}):)?(?:(?P<host>\d*):)?(?P<container>\d+)(?:/\w+)?")

FLAGS = {
    "volumes": "--volume",
    "user": "--user",
    "network_mode": "--network",
    "platform": "--platform",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "shm_size": "--shm-size",
    "tmpfs": "--tmpfs",
    "hostname": "--hostname",
}
"""What `docker run` takes from a service as it is, and the flag for it."""


class Published(NamedTuple):
    """A port of a container and the one of this machine that leads to it; None when docker chooses that."""

    container: int
    host: int | None
    option: str


def published(draft: Draft, place: str, value: object) -> list[Published]:
    """The ports of a service, in either of compose's two notations; what cannot be read is noted."""
    found = []
    for entry in items(value):
        port = _long_port(entry) if isinstance(entry, dict) else _short_port(text(entry))
        if port is None:
            draft.note(place, f"dropped: {text(entry)} (a range, a variable, or no port)")
        else:
            found.append(port)
    return found


def _short_port(told: str) -> Published | None:
    match = _PORT.fullmatch(told)
    if match is None:
        return None
    return Published(int(match["container"]), int(match["host"]) if match["host"] else None, told)


def _long_port(entry: Mapping[str, Any]) -> Published | None:
    host, container = text(entry.get("published")), text(entry.get("target"))
    address = f"{text(entry['host_ip'])}:" if entry.get("host_ip") else ""
    protocol = f"/{text(entry['protocol'])}" if entry.get("protocol") else ""
    return _short_port(f"{address}{host}:{container}{protocol}" if host else f"{container}{protocol}")


def docker_run(
    name: str, service: Mapping[str, Any], ports: Iterable[Published], variables: Iterable[str]
) -> list[str]:
    """The command that runs *service* as the container *name*; docker gets the values of *variables* from its own."""
    words = ["docker", "run", "--rm", "--init", "--name", name]
    for port in ports:
        words += ["--publish", port.option]
    for variable in variables:
        words += ["--env", variable]
    for key, flag in {**FLAGS, "working_dir": "--workdir"}.items():
        for value in items(service.get(key)):
            words += [flag, _mount(value) if isinstance(value, dict) else replaced(text(value))]
    if service.get("privileged") is True:
        words.append("--privileged")
    entrypoint, *arguments = words_of(service.get("entrypoint")) or [""]
    if entrypoint:
        words += ["--entrypoint", entrypoint]
    image = replaced(text(service.get("image")))
    if image.startswith("-"):
        # To docker it would be one more option.
        raise ImportedError(f"{image!r} is not the name of an image")
    return [*words, image, *arguments, *words_of(service.get("command"))]


def _mount(volume: Mapping[str, Any]) -> str:
    entry = table(dict(volume), "volumes")
    read_only = ":ro" if entry.get("read_only") else ""
    return replaced(f"{text(entry.get('source'))}:{text(entry.get('target'))}{read_only}".lstrip(":"))
