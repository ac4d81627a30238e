"""Sends reports to the control plane, and tells apart what they come back with."""

from typing import Final, Protocol

import msgspec

from tekton.a2a.task_reports import Heard
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import TransportError

__all__ = ["LeaseOverError", "ReportClient", "ReportRefusedError", "Reports"]

TIMEOUT: Final = 30.0
"""Seconds for a report: it waits for a disk."""
MOST_ANSWER: Final = 32 * 1024 * 1024

_OVER: Final = frozenset({404, 409, 410})
_PASSING: Final = frozenset({401, 403, 408, 425, 429})
"""What a client is told that may be right a moment later: a credential is renewed, a flood passes."""

_decode = msgspec.json.Decoder(Heard).decode


class LeaseOverError(Exception):
    """The lease under which something was reported is over."""


class ReportRefusedError(Exception):
    """A report is not accepted, and will not be."""


class Reports(Protocol):
    """Takes reports to the control plane."""

    async def send(self, task_id: str, report: object) -> Heard:
        """Send a report. Raises LeaseOverError, ReportRefusedError, and TransportError for what passes."""
        ...


class ReportClient:
    """`Reports` to *plane*."""

    def __init__(self, plane: ControlPlane) -> None:
        self._http = plane.client(TIMEOUT, max_answer=MOST_ANSWER)

    async def send(self, task_id: str, report: object) -> Heard:
        """See Reports."""
        path = f"/api/tasks/{task_id}/reports"
        answer = await self._http.send("POST", path, report)
        if answer.status in _OVER:
            raise LeaseOverError(answer.status)
        if 400 <= answer.status < 500 and answer.status not in _PASSING:
            raise ReportRefusedError(f"the control plane refuses it: {answer.body[:300]!r}")
        try:
            if answer.status == 200:
                return _decode(answer.body)
        except msgspec.DecodeError as error:
            raise TransportError(path, f"the answer is none to a report: {error}") from None
        raise TransportError(path, f"the answer is {answer.status}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
