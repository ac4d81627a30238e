"""What a new configuration changes: pure functions over the old and the new one."""

import dataclasses
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from tekton.utils.tekton_config import SETTINGS, ComponentSpec, TektonConfig
from tekton.utils.tekton_errors import ConfigurationError, Mistake

AT_ONCE: Final = frozenset(
    {
        "log_level",
        "log_format",
        "profiles",
        "stall_threshold",
        "collection_interval",
        "thresholds_cpu_percent",
        "thresholds_memory_percent",
        "thresholds_disk_percent",
        "thresholds_gpu_memory_percent",
        "startup_timeout",
        "heartbeat_interval",
        "heartbeat_timeout",
        "auto_recover",
        "enable_auth",
        "token_expiry",
        "key_life",
        "streams_size",
        "task_age",
        "task_limit",
        "max_open_tasks",
        "max_open_tasks_per_owner",
        "max_open_size",
        "max_open_size_per_owner",
        "agent_lease",
        "conversation_age",
        "max_conversations_per_owner",
        "max_messages_per_conversation",
        "max_conversation_size",
    }
)
"""The settings (their attributes) that can change while the system runs. The others hold from the next start on."""

TABLES: Final = ("roles", "principals", "fallbacks", "streams")
"""The tables beside the components. They can change while the system runs."""


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload has done: the ids of components, and the names of settings.

    What was `added` is being started, what has `changed` started anew if its process is concerned; what was `removed`
    has stopped. `needs_restart` are settings that have changed but hold only after a restart of the whole system.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    kept: list[str]
    settings: list[str]
    needs_restart: list[str]


class SpecDifference(NamedTuple):
    """How the components of two configurations differ: every id of either is in exactly one of these, in order."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    kept: list[str]


def compare_specs(old: Mapping[str, ComponentSpec], new: Mapping[str, ComponentSpec]) -> SpecDifference:
    """What makes *new* of *old*."""
    common = sorted(old.keys() & new.keys())
    return SpecDifference(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=[name for name in common if old[name] != new[name]],
        kept=[name for name in common if old[name] == new[name]],
    )


def compare_settings(old: TektonConfig, new: TektonConfig) -> tuple[list[str], list[str]]:
    """The names of the settings that differ: those that can change while the system runs, and the others."""
    changed = [one for one in SETTINGS if getattr(old, one.attribute) != getattr(new, one.attribute)]
    at_once = [setting.name for setting in changed if setting.attribute in AT_ONCE]
    at_once += [table for table in TABLES if getattr(old, table) != getattr(new, table)]
    return at_once, [setting.name for setting in changed if setting.attribute not in AT_ONCE]


def applicable(old: TektonConfig, new: TektonConfig) -> TektonConfig:
    """*new*, with the values of *old* for what cannot change while the system runs."""
    lasting = {one.attribute: getattr(old, one.attribute) for one in SETTINGS if one.attribute not in AT_ONCE}
    ports = new.ports | {name: old.ports[name] for name in ("tekton", "tekton_core")}
    return dataclasses.replace(new, ports=ports, **lasting)


def refuse_lost_components(old: TektonConfig, new: TektonConfig) -> None:
    """Raise ConfigurationError when the file with the components has gone since *old*, and *new* has none therefore.

    Somebody who replaces a file may take it away first: that must not stop everything.
    """
    lost = old.files.components
    if lost is not None and new.files.components is None:
        problem = "it has gone, or is no regular file, since the components in it were started"
        advice = 'bring it back; {"components": {}} in it ends all components'
        raise ConfigurationError([Mistake(str(lost), 0, 0, "", problem, advice)])
