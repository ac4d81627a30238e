"""Where the control plane is, for components and clients.

Looked for in this order: TEKTON_URL (and TEKTON_SOCKET), the Unix socket of the data directory if somebody answers
there, the local network if `tekton.mdns` is on (`locate` only), port 8010 of this machine.
"""

import asyncio
import socket as sockets
from dataclasses import dataclass, field
from pathlib import Path

from tekton.utils.retries import Retries
from tekton.utils.tekton_config import DEFAULT_PORTS, ComponentEnvironment, TektonConfig, component_environment
from tekton.utils.tekton_http import HttpClient

__all__ = ["ControlPlane"]

_ON_THIS_MACHINE = "http://localhost:"
_ANSWER_TIMEOUT = 0.25


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the control plane is reached: through a Unix *socket* where there is one, else at *url*.

    The *credential* is sent along; it is read again from *credential_file* when it is refused. Through the socket none
    is needed: without one, the caller is the owner.
    """

    url: str = "http://localhost:8010"
    socket: Path | None = None
    credential: str | None = field(default=None, repr=False)
    credential_file: Path | None = field(default=None, compare=False)

    @classmethod
    def from_environment(cls) -> "ControlPlane":
        """The control plane that the environment names, else the one of the configured data directory.

        Raises ConfigurationError when the environment or the configuration is wrong.
        """
        environment = component_environment()
        if environment.socket is None and environment.url.startswith(_ON_THIS_MACHINE):
            return cls._on_this_machine(environment)
        socket = environment.socket if environment.socket and environment.socket.exists() else None
        return cls(environment.url, socket, environment.credential(), environment.credential_file)

    @classmethod
    async def locate(cls) -> "ControlPlane":
        """Like `from_environment`; where neither it nor a socket names one, the local network is asked as well.

        That needs the setting `tekton.mdns` and the extra `mdns`, and may take two seconds. Raises ConfigurationError.
        """
        plane = await asyncio.to_thread(cls.from_environment)
        if plane.socket is not None or component_environment().url_given or not TektonConfig.load().mdns:
            return plane
        from tekton.utils.mdns import browse

        url = await browse()
        # Anybody on the network may have announced it, so it is not given the credential.
        return plane if url is None else cls(url)

    @classmethod
    def _on_this_machine(cls, environment: ComponentEnvironment) -> "ControlPlane":
        config = TektonConfig.load()
        port = environment.url.removeprefix(_ON_THIS_MACHINE)
        if port not in (str(DEFAULT_PORTS["tekton"]), str(config.port)):
            return cls(environment.url, None, environment.credential(), environment.credential_file)
        socket = config.data_dir / "run" / "control.sock"
        url = f"{_ON_THIS_MACHINE}{config.port}"
        reached = socket if _answers(socket) else None
        return cls(url, reached, environment.credential(), environment.credential_file)

    def client(
        self, timeout: float = 10.0, retries: Retries | None = None, *, max_answer: int | None = None
    ) -> HttpClient:
        """A new client of it; *timeout* (seconds) is that of a whole request, all *retries* included.

        At most *max_answer* bytes of an answer are read.

        With *retries*, writes are sent again, too: each has a key by which the control plane knows it.
        """
        return HttpClient(
            self.url if self.socket is None else "http://localhost",
            socket=self.socket,
            credential=self.credential,
            renewed=self.read_credential,
            timeout=timeout,
            retries=retries,
            keys=True,
            max_answer=max_answer,
        )

    def read_credential(self) -> str | None:
        """What the credential file says now; None without one, or when it cannot be read."""
        if self.credential_file is None:
            return None
        try:
            return self.credential_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None


def _answers(path: Path) -> bool:
    """True when somebody listens there: a control plane that was killed leaves its socket behind."""
    if not path.is_socket():
        return False
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_TIMEOUT)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
