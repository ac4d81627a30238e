"""The files by their names, and their JSON schemas."""

from typing import Any

import msgspec

from tekton.utils.config_schema.components import ComponentsFile
from tekton.utils.config_schema.dependencies import DependenciesFile
from tekton.utils.config_schema.main_file import MainFile
from tekton.utils.config_schema.ports import PortsFile
from tekton.utils.config_schema.security import SecurityFile

FILE_TYPES: dict[str, type[msgspec.Struct]] = {
    "tekton": MainFile,
    "components": ComponentsFile,
    "dependencies": DependenciesFile,
    "ports": PortsFile,
    "security": SecurityFile,
}
"""The types of the files by their name without `.json`."""


def json_schema(file: str) -> dict[str, Any]:
    """The JSON schema of a file: `tekton`, `components`, `dependencies`, `ports` or `security`."""
    schema = msgspec.json.schema(FILE_TYPES[file])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
