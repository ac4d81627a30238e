"""The question that health checks of containers ask."""

import asyncio
from pathlib import Path

import pytest

from tekton.service.health import main


async def answer(data_dir: Path, status: bytes) -> int:
    """The exit status of a check that is answered so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    (data_dir / "run").mkdir()
    async with await asyncio.start_unix_server(serve, data_dir / "run" / "control.sock"), asyncio.timeout(10):
        return await asyncio.to_thread(main)


@pytest.mark.parametrize(
    ("status", "code"), [(b"200 OK", 0), (b"503 Service Unavailable", 1), (b"500 200", 1)], ids=["200", "503", "500"]
)
async def test_it_is_well_when_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: bytes, code: int
) -> None:
    monkeypatch.setenv("TEKTON_DATA_DIR", str(tmp_path))

    assert await answer(tmp_path, status) == code


def test_where_nobody_answers_it_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEKTON_DATA_DIR", str(tmp_path))

    assert main() == 1
    assert "No such file" in capsys.readouterr().err
