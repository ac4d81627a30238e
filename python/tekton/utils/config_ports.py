"""Ports: which component has which, where that was said, and whether two have the same.

For each component the first of these that names a port decides: the environment (`HERMES_PORT`), components.json,
ports.json, the default. The control plane's own port is a setting (`tekton.port`, TEKTON_PORT).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from msgspec import inspect

from tekton.utils.config_checks import Checker
from tekton.utils.config_origin import DEFAULT, Origin, in_environment, in_file
from tekton.utils.config_places import environment_text
from tekton.utils.config_schema import CONTROL_PLANE, DEFAULT_PORTS, Port
from tekton.utils.config_values import InvalidValueError, parse_text
from tekton.utils.json_document import Document
from tekton.utils.tekton_errors import Mistake

_PORTS = 65536
_PORT = inspect.type_info(Port)


class AssignedPort(NamedTuple):
    """A port and where it was assigned."""

    port: int
    origin: Origin


def port_variable(component: str) -> str:
    """The environment variable that sets a component's port: HERMES_PORT for `hermes`."""
    return f"{variable_prefix(component)}_PORT"


def variable_prefix(component: str) -> str:
    """What the environment variables about a component begin with: MY_APP for `my-app`."""
    return component.upper().replace("-", "_")


def environment_port(environ: Mapping[str, str], variable: str) -> int | None:
    """The port that a variable gives; None when it is not set. Raises `InvalidValueError`."""
    text = environment_text(environ, variable)
    if text is None:
        return None
    try:
        port: int = parse_text(text, _PORT)
    except InvalidValueError as error:
        raise InvalidValueError(f"{error.problem}, found {text!r}") from None
    return port


def written_ports(document: Document, key: str, checker: Checker) -> dict[str, AssignedPort]:
    """The ports in a document whose member *key* maps ids to ports or to objects with a `port`.

    What is not a port is left out here; the check of the whole document reports it.
    """
    table = document.find(f"/{key}")
    if table is None or not isinstance(table.value, dict):
        return {}
    ports = {}
    for name, node in table.value.items():
        place = node.value.get("port") if isinstance(node.value, dict) else node
        port = None if place is None else checker.quiet_value(place, _PORT)
        if place is not None and port is not None:
            ports[name] = AssignedPort(port, in_file(document, place))
    return ports


def resolve_ports(
    environ: Mapping[str, str],
    names: Iterable[str],
    components: Mapping[str, AssignedPort],
    listed: Mapping[str, AssignedPort],
) -> tuple[dict[str, AssignedPort], list[Mistake]]:
    """The port of every component that has one, the control plane left out.

    *names* are all ids that are known, *components* the ports from components.json, *listed* those from ports.json.
    """
    resolved = {name: AssignedPort(port, DEFAULT) for name, port in DEFAULT_PORTS.items()} | {**listed} | {**components}
    mistakes = []
    for name in {name: None for name in (*names, *resolved) if name not in CONTROL_PLANE}:
        variable = port_variable(name)
        try:
            port = environment_port(environ, variable)
        except InvalidValueError as error:
            mistakes.append(in_environment(variable).mistake(error.problem, error.suggestion))
        else:
            if port is not None:
                resolved[name] = AssignedPort(port, in_environment(variable))
    return {name: assigned for name, assigned in resolved.items() if name not in CONTROL_PLANE}, mistakes


def conflicting_ports(
    assigned: Iterable[tuple[str, AssignedPort]], replicas: Mapping[str, int] = MappingProxyType({})
) -> list[Mistake]:
    """A mistake for each port that more than one of the named holders has. Port 0 (any free one) never conflicts.

    *replicas* is how many ports in a row those have that have more than one; those must exist, too.
    """
    holders: dict[int, str] = {}
    mistakes = []
    for name, (first, origin) in assigned:
        ports = range(first, first + replicas.get(name, 1))
        if ports.stop > _PORTS:
            problem = f"{len(ports)} replicas of {name} need ports up to {ports[-1]}; the last there is is {_PORTS - 1}"
            mistakes.append(origin.mistake(problem))
        for port in ports if first else ():
            holder = holders.setdefault(port, name)
            if holder != name:
                whose = name if port == first else f"replica {port - first} of {name}"
                mistakes.append(origin.mistake(f"port {port} of {whose} is already that of {holder}"))
                break
    return mistakes
