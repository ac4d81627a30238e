"""What those who work on tasks elsewhere report.

As heartbeats are, reports are taken whatever the load: who cannot renew his lease loses it, and the work is done anew.
"""

from tekton.a2a.task_reports import MOST_REPORT, Heard, Report
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError, UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.api.fence import check_speaker
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    StaleLeaseError,
    StorageError,
    TaskBudgetError,
    TaskNotFoundError,
    TaskStateError,
)

PERMISSION = "components:heartbeat"


def routes(system: System) -> list[Route]:
    """The route of reports."""

    async def report(request: Request) -> Heard:
        agents, task_id = system.component_agents, request.params["task_id"]
        try:
            check_speaker(system, request, PERMISSION, agents.component_of(task_id))
        except (CredentialRequiredError, PermissionDeniedError):
            raise TaskNotFoundError(task_id) from None
        return await agents.report(task_id, request.body)

    return [
        Route(
            "POST",
            "/api/tasks/{task_id}/reports",
            report,
            "What the agent of a component has done for a task; durable when it is answered",
            PERMISSION,
            body=Report,
            response=Heard,
            max_body=MOST_REPORT,
            repeats="harmless",
            attributed=False,
            vital=True,
            errors=(
                TaskNotFoundError,
                StaleLeaseError,
                TaskStateError,
                TaskBudgetError,
                InvalidTaskError,
                StorageError,
                UnavailableError,
            ),
            tags=("tasks",),
        )
    ]
