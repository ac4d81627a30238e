"""Why an agent does not do what it was asked for, in words of ours: whoever calls it needs to know no SDK."""

from tekton.utils.tekton_errors import ConfigurationError, Mistake, TransportError

__all__ = ["AgentRefusalError", "NotLetInError", "PassingError", "RemoteTaskUnknownError", "extra_missing"]


class AgentRefusalError(Exception):
    """The agent has understood, and will not. The text says why."""


class RemoteTaskUnknownError(AgentRefusalError):
    """The agent does not know of such a task."""


class PassingError(TransportError):
    """The other side has refused for a reason that passes, and has done nothing."""


class NotLetInError(TransportError):
    """The other side has answered with *status*: it wants a credential, or another one."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(url, f"it does not let us in: answered {status}")


def extra_missing(error: ImportError) -> ConfigurationError:
    """What is raised where the official SDK is wanted, and is not installed."""
    problem = f"agents at a URL need the extra 'a2a' ({error})"
    return ConfigurationError([Mistake("agents", 0, 0, "", problem, "pip install 'tekton-core[a2a]'")])
