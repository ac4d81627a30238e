"""Whom a request speaks for, where its path does not say so.

Routes that name the component in their path are checked by the policy. Those that name it in the body check it here,
before they do anything.
"""

from tekton.gateway.request import Request
from tekton.service.system import System


def check_speaker(system: System, request: Request, permission: str, component_id: str) -> None:
    """Raise CredentialRequiredError or PermissionDeniedError when the caller may not do that to *component_id*."""
    system.security.policy.permit(request.principal, permission, component_id)
