"""What may stand in the configuration files: the types, the defaults and the rules for single values.

The structs in this package, a module for each file or section, are the one description of the five files. The checker
walks them, the JSON schema for editors is made from them, and `SETTINGS` lists every setting of the main file with its
environment variable, which is its path in upper case: `tekton.security.jwt_secret` is TEKTON_SECURITY_JWT_SECRET.

A rule for one value stands in `Meta(extra={"check": rule})`: a function from the value to None, or to the problem
and a suggestion (`config_values.Rule`).
"""

from tekton.utils.config_schema.base import (
    Argument,
    Capability,
    Id,
    Percent,
    Port,
    RoleName,
    Schema,
    Seconds,
    Share,
    Size,
    StreamName,
    Subject,
    Text,
)
from tekton.utils.config_schema.bus import BusSettings, StreamSpec
from tekton.utils.config_schema.components import ComponentEntry, ComponentsFile
from tekton.utils.config_schema.demands import ConstraintSpec, LimitSpec, LogSpec
from tekton.utils.config_schema.dependencies import DependenciesFile, DependencySpec
from tekton.utils.config_schema.failures import BreakerSpec, FallbackSpec, RestartSpec
from tekton.utils.config_schema.files import FILE_TYPES, json_schema
from tekton.utils.config_schema.main_file import ComponentSettings, MainFile, MainSettings
from tekton.utils.config_schema.monitoring import MonitoringSettings, ThresholdSettings
from tekton.utils.config_schema.ports import CONTROL_PLANE, DEFAULT_PORTS, PortsFile
from tekton.utils.config_schema.probes import PROBES, REPEATABLE_PROBES, ProbeSpec
from tekton.utils.config_schema.security import RoleSpec, SecurityFile, SecuritySettings
from tekton.utils.config_schema.settings import FILE_SETTINGS, SETTINGS, Setting
from tekton.utils.config_schema.work import ConversationSettings, TaskSettings

__all__ = [
    "CONTROL_PLANE",
    "DEFAULT_PORTS",
    "FILE_SETTINGS",
    "FILE_TYPES",
    "PROBES",
    "REPEATABLE_PROBES",
    "SETTINGS",
    "Argument",
    "BreakerSpec",
    "BusSettings",
    "Capability",
    "ComponentEntry",
    "ComponentSettings",
    "ComponentsFile",
    "ConstraintSpec",
    "ConversationSettings",
    "DependenciesFile",
    "DependencySpec",
    "FallbackSpec",
    "Id",
    "LimitSpec",
    "LogSpec",
    "MainFile",
    "MainSettings",
    "MonitoringSettings",
    "Percent",
    "Port",
    "PortsFile",
    "ProbeSpec",
    "RestartSpec",
    "RoleName",
    "RoleSpec",
    "Schema",
    "Seconds",
    "SecurityFile",
    "SecuritySettings",
    "Setting",
    "Share",
    "Size",
    "StreamName",
    "StreamSpec",
    "Subject",
    "TaskSettings",
    "Text",
    "ThresholdSettings",
    "json_schema",
]
