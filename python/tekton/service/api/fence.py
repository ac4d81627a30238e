"""Who may speak for a component.

One that registered itself is named by its instance id. That id can be read by everybody on the machine, so for a
component that Tekton runs it is not enough: what is said about it decides over a process.
"""

from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.request import Request
from tekton.service.system import System


def check_speaker(system: System, request: Request, component_id: str) -> None:
    """Raise CredentialRequiredError when the caller may not say what *component_id* is or does."""
    if not request.owner and system.runs(component_id):
        raise CredentialRequiredError(f"{component_id} is run by Tekton: speaking for it needs the credential")


def check_pulse(system: System, request: Request, component_id: str) -> None:
    """Raise CredentialRequiredError when the caller may not send heartbeats for *component_id*.

    The first one makes a component whose silence has consequences: somebody else must not do that to it.
    """
    if not request.owner and system.has_credential(component_id):
        raise CredentialRequiredError(f"{component_id} is run by Tekton: heartbeats for it need the credential")
