"""What lets us in at remote agents: `keys/agents.json` in the data directory, which only its owner may read.

A credential comes in with the registration of its agent, and goes out to that agent alone: no answer shows it, no log
and no audit entry has it. Without a file (a control plane in memory) they are forgotten at its end.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import msgspec

from tekton.service.private_file import write_privately
from tekton.utils.remote_agents import Credential
from tekton.utils.tekton_errors import StorageError

__all__ = ["FILE_NAME", "AgentCredentials"]

FILE_NAME: Final = "keys/agents.json"
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o077

_logger = logging.getLogger("tekton.agents")


class AgentCredentials:
    """The credentials of agents by their ids, in the file *path*.

    One that cannot be read, or that others may read, is told of in the log: agents are asked without credentials then,
    and changes raise StorageError.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._problem: str | None = None
        self._known: dict[str, Credential] = {}
        self._changing = asyncio.Lock()
        if path is not None:
            self._load(path)

    def get(self, agent_id: str) -> Credential | None:
        """What lets us in at an agent."""
        return self._known.get(agent_id)

    async def put(self, agent_id: str, credential: Credential | None) -> None:
        """From now on *credential* lets us in at an agent; None: it needs none. Durable on return.

        Raises StorageError; then nothing has changed.
        """
        async with self._changing:
            if self._known.get(agent_id) == credential:
                return
            changed = {name: one for name, one in self._known.items() if name != agent_id}
            if credential is not None:
                changed[agent_id] = credential
            if self._path is not None:
                await asyncio.to_thread(self._write, self._path, changed)
            self._known = changed

    def _load(self, path: Path) -> None:
        try:
            if path.stat().st_mode & _OTHERS:
                self._problem = "others may read or write it"
            else:
                document: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
                self._known = {agent_id: Credential.from_json(one) for agent_id, one in document.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            # Without the text of the error, which may have some of the content.
            self._problem = f"it cannot be read ({type(error).__name__})"
        if self._problem is not None:
            _logger.error("remote agents are asked without credentials: %s: %s", path, self._problem)

    def _write(self, path: Path, credentials: dict[str, Credential]) -> None:
        if self._problem is not None:
            raise StorageError(f"{path}: {self._problem}")
        content = msgspec.json.encode({agent_id: one.to_json() for agent_id, one in sorted(credentials.items())})
        try:
            path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            write_privately(path, content)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}") from error
