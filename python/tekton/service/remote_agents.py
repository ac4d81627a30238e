"""Remote agents of the control plane: called as its configuration allows, and believed as it says.

Their URLs are others' (`callbacks`). With `tekton.security.agent_card_keys` only cards are accepted that one of the
keys in that file, a JWK set (RFC 7517), has signed.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.agent_credentials import FILE_NAME, AgentCredentials
from tekton.service.agents import Agents
from tekton.service.callbacks import callback_policy
from tekton.utils.remote_agents import RemoteAgents
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError, Mistake

__all__ = ["remote_agents"]

_SETTING: Final = "tekton.security.agent_card_keys"


class _Set(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def remote_agents(
    agents: Agents, components: ComponentRegistry, config: TektonConfig, clock: Clock = SYSTEM_CLOCK
) -> RemoteAgents:
    """What calls the remote ones of *agents*, which are known to it from now on.

    Reads the files with keys and credentials. Raises ConfigurationError for keys that cannot be used.
    """
    policy, path = callback_policy(config, components), config.agent_card_keys
    try:
        keys = None if path is None else _keys(path)
        remote = RemoteAgents(agents.registry, policy=policy, card_keys=keys, clock=clock)
    except ValueError as error:
        raise ConfigurationError([Mistake(config.sources[_SETTING], 0, 0, "", str(error), "use a JWK set")]) from None
    agents.attend(remote, AgentCredentials(config.data_dir / FILE_NAME))
    return remote


def _keys(path: Path) -> dict[str, str]:
    """The keys in the file *path*, by their ids. Raises ValueError."""
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=_Set).keys
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no JWK set: {error}") from None
    named = {key["kid"]: msgspec.json.encode(key).decode() for key in keys if isinstance(key.get("kid"), str)}
    if len(named) != len(keys) or not keys:
        raise ValueError(f"{path}: there are no keys, or not each of them has a kid of its own")
    return named
