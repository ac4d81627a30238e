"""Every setting of the main file by itself: its path, its type, its default, and the variable that sets it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from tekton.utils.config_schema.main_file import MainSettings
from tekton.utils.redaction import is_secret_name

FILE_SETTINGS = frozenset(
    f"tekton.security.{name}" for name in ("tls_cert", "tls_key", "tls_client_ca", "agent_card_keys", "audit_heads")
)
"""The settings that name files."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the main file. `name` is its path, such as `tekton.security.jwt_secret`."""

    name: str
    type: inspect.Type
    default: Any
    description: str

    @property
    def attribute(self) -> str:
        """The name of the attribute of `TektonConfig` that holds it: the path within its section."""
        return "_".join(self.name.split(".")[2:]) or self.name.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return self.name.upper().replace(".", "_")

    @property
    def secret(self) -> bool:
        """True when its value must not be shown."""
        return is_secret_name(self.attribute) and self.default is None and self.name not in FILE_SETTINGS


def _settings(struct: inspect.Type, prefix: str) -> Iterator[Setting]:
    assert isinstance(struct, inspect.StructType)
    for member in struct.fields:
        name = f"{prefix}.{member.encode_name}"
        if isinstance(member.type, inspect.StructType):
            yield from _settings(member.type, name)
        elif isinstance(member.type, inspect.Metadata) and not isinstance(member.type.type, inspect.DictType):
            default = member.default if member.default is not msgspec.NODEFAULT else member.default_factory()
            description = (member.type.extra_json_schema or {}).get("description", "")
            yield Setting(name, member.type, default, description)


SETTINGS: tuple[Setting, ...] = tuple(_settings(inspect.type_info(MainSettings), "tekton"))
