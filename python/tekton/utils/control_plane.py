"""Where the control plane is, for components and clients.

Looked for in this order: TEKTON_URL (and TEKTON_SOCKET), the Unix socket of the data directory if somebody answers
there, the local network if `tekton.mdns` is on (`locate` only), port 8010 of this machine.
"""

import asyncio
import socket as sockets
from dataclasses import dataclass, field
from pathlib import Path

from tekton.utils.tekton_config import DEFAULT_PORTS, ComponentEnvironment, TektonConfig, component_environment
from tekton.utils.tekton_http import HttpClient

__all__ = ["ControlPlane"]

_ON_THIS_MACHINE = "http://localhost:"
_ANSWER_TIMEOUT = 0.25


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the control plane is reached: a Unix *socket* where there is one, else *url* with the *credential*."""

    url: str = "http://localhost:8010"
    socket: Path | None = None
    credential: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> "ControlPlane":
        """The control plane that the environment names, else the one of the configured data directory.

        Raises ConfigurationError when the environment or the configuration is wrong.
        """
        environment = component_environment()
        if environment.socket is None and environment.url.startswith(_ON_THIS_MACHINE):
            return cls._on_this_machine(environment)
        socket = environment.socket if environment.socket and environment.socket.exists() else None
        return cls(environment.url, socket, environment.credential())

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
            return cls(environment.url, credential=environment.credential())
        socket = config.data_dir / "run" / "control.sock"
        url = f"{_ON_THIS_MACHINE}{config.port}"
        return cls(url, socket if _answers(socket) else None, environment.credential())

    def client(self, timeout: float = 10.0) -> HttpClient:
        """A new client of it; *timeout* (seconds) is that of a whole request."""
        if self.socket is not None:
            # The socket lies where only its owner gets: it needs no credential.
            return HttpClient(socket=self.socket, timeout=timeout)
        return HttpClient(self.url, credential=self.credential, timeout=timeout)


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
