"""Processes and the addresses that they listen at."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AddressError",
    "PortInUseError",
    "SpawnError",
    "SupervisionError",
]


class SupervisionError(TektonError):
    """Base of failures to run a child process."""

    code = "supervision"


class SpawnError(SupervisionError):
    """A process could not be started at all (missing, not executable, wrong working directory)."""

    code = "spawn_failed"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class PortInUseError(SupervisionError):
    """A port is taken. `owner` describes the process that listens there, when it can be known."""

    code = "port_in_use"

    def __init__(self, port: int, owner: str | None = None) -> None:
        self.port = port
        self.owner = owner
        super().__init__(f"port {port} is in use" + (f" by {owner}" if owner else ""))


class AddressError(SupervisionError):
    """An address that cannot be listened on, now or later: it is not this machine's, or not allowed."""

    code = "address_invalid"

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host = host
        self.port = port
        self.problem = problem
        super().__init__(f"cannot listen on {host} port {port}: {problem}")
