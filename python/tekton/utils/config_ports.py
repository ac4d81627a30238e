"""Ports: which component has which, where that was said, and whether two have the same.

For each component the first of these that names a port decides: the environment (`HERMES_PORT`), components.json,
ports.json, the default. The control plane's own port is a setting (`tekton.port`, TEKTON_PORT).
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import inspect

from tekton.utils.config_checks import Checker
from tekton.utils.config_origin import DEFAULT, Origin, in_environment, in_file
from tekton.utils.config_schema import CONTROL_PLANE, DEFAULT_PORTS, Port
from tekton.utils.config_values import InvalidValueError, parse_text
from tekton.utils.json_document import Document
from tekton.utils.tekton_errors import Mistake

_PORT = inspect.type_info(Port)
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+")


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


def environment_text(environ: Mapping[str, str], variable: str) -> str | None:
    """The value of a variable; None when it is not set or empty.

    Kubernetes sets `<SERVICE>_PORT=tcp://10.0.0.1:8001` for its services. That is not a setting of ours; it counts
    as not set.
    """
    text = environ.get(variable, "").strip()
    return None if not text or (variable.endswith("_PORT") and _SERVICE_LINK.fullmatch(text)) else text


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


def conflicting_ports(assigned: Iterable[tuple[str, AssignedPort]]) -> list[Mistake]:
    """A mistake for each port that more than one of the named holders has. Port 0 (any free one) never conflicts."""
    holders: dict[int, str] = {}
    mistakes = []
    for name, (port, origin) in assigned:
        holder = holders.setdefault(port, name) if port else name
        if holder != name:
            mistakes.append(origin.mistake(f"port {port} of {name} is already that of {holder}"))
    return mistakes
