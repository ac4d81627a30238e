"""What the how-tos show works: their tests pass, their components do what the page says."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.bus.bus import StreamSettings
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
BLOCKS = [
    pytest.param(block, id=f"{page.stem}:{number}")
    for page in sorted(HOWTO.glob("*.md"))
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL), 1)
    if "async def test_" in block
]


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_test_on_a_page_passes(block: str) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "page", "exec"), names)

    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    await test()


async def test_the_components_of_the_work_queue_hand_a_job_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = (HOWTO / "work-queue.md").read_text()
    bus = json.loads(_first(page, "json"))["tekton"]["bus"]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(_first(page, "python"), "page", "exec"), names)
    printed: asyncio.Queue[str] = asyncio.Queue()
    names["print"] = printed.put_nowait

    async with asyncio.timeout(20), AsyncExitStack() as stack:
        plane = await stack.enter_async_context(InMemoryControlPlane())
        await plane.bus.create_stream("jobs", msgspec.convert(bus["streams"]["jobs"], StreamSettings))
        monkeypatch.setenv("TEKTON_URL", plane.address.url)
        for name in ("printer", "shop"):
            credential = tmp_path / name
            credential.write_text(await plane.token(name, "component"))
            credential.chmod(0o600)
            monkeypatch.setenv("TEKTON_CREDENTIAL_FILE", str(credential))
            await stack.enter_async_context(names[name])
        client = await stack.enter_async_context(HttpClient(names["shop"].endpoint))

        assert await client.request("POST", "/api/tools/order", {"page": "a poster"}) == {"result": 1}
        assert await printed.get() == "a poster"


def _first(page: str, language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
