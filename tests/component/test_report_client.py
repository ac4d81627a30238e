"""What a report comes back with: it was taken, the lease is over, it is refused, or it passes."""

import pytest

from tekton.a2a.task_reports import Heard
from tekton.component.report_client import LeaseOverError, ReportClient, ReportRefusedError
from tekton.gateway.app import Gateway
from tekton.gateway.request import Request, Response
from tekton.gateway.router import PUBLIC, Route
from tekton.gateway.server import GatewayServer
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import TransportError

HEARD = b'{"number":3,"state":"working","taken":2}'


async def answered(status: int, body: bytes) -> Heard:
    async def answer(_: Request) -> Response:
        return Response(status, body)

    route = Route("POST", "/api/tasks/{task_id}/reports", answer, "Reports", PUBLIC, body=dict)
    server = GatewayServer(Gateway([route]), "127.0.0.1", 0)
    await server.start()
    client = ReportClient(ControlPlane(f"http://127.0.0.1:{server.port}"))
    try:
        return await client.send("t1", {"epoch": 1, "worker": "w"})
    finally:
        await client.close()
        await server.stop()


async def test_what_was_taken_is_told() -> None:
    assert await answered(200, HEARD) == Heard(3, "working", 2)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (409, b"", LeaseOverError),
        (404, b"{}", LeaseOverError),
        (422, b"{}", ReportRefusedError),
        (413, b"{}", ReportRefusedError),
        (401, b"{}", TransportError),
        (403, b"{}", TransportError),
        (429, b"{}", TransportError),
        (503, b"{}", TransportError),
        (500, b"<html>", TransportError),
        (200, b"<html>", TransportError),
        (200, b"{}", TransportError),
        (302, b"", TransportError),
    ],
)
async def test_what_was_not_is_told_apart(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        await answered(status, body)


async def test_nobody_there_passes() -> None:
    client = ReportClient(ControlPlane("http://127.0.0.1:1"))
    try:
        with pytest.raises(TransportError):
            await client.send("t1", {})
    finally:
        await client.close()
