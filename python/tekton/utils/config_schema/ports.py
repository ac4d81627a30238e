"""ports.json, and the ports that hold without it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tekton.utils.config_schema.base import Id, Port, Schema, Section

DEFAULT_PORTS: dict[str, int] = {
    "engram": 8000,
    "hermes": 8001,
    "ergon": 8002,
    "rhetor": 8003,
    "terma": 8004,
    "athena": 8005,
    "prometheus": 8006,
    "harmonia": 8007,
    "telos": 8008,
    "synthesis": 8009,
    "tekton_core": 8010,
    "tekton": 8010,
    "hephaestus": 8080,
}
CONTROL_PLANE = ("tekton", "tekton_core")
"""Names of the control plane itself; no component may be called so."""


class PortsFile(Section, frozen=True, kw_only=True):
    """ports.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    ports: Annotated[dict[Id, Port], Meta(description="Ports by component id.")] = {}
