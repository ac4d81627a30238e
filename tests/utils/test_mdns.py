"""Announcing and finding a control plane, with real multicast DNS on the loopback interface."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.utils import mdns
from tekton.utils.control_plane import ControlPlane
from tekton.utils.mdns import Announcement, announce, browse
from tekton.utils.tekton_errors import ConfigurationError

LOOPBACK = ["127.0.0.1"]


@pytest.fixture
async def announced() -> AsyncIterator[None]:
    announcement = Announcement(18999, LOOPBACK, interfaces=LOOPBACK)
    try:
        await announcement.announce()
    except OSError as error:
        pytest.skip(f"there is no multicast on the loopback interface here: {error}")
    yield
    await announcement.withdraw()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("URL", "PORT", "SOCKET", "CREDENTIAL_FILE", "DATA_DIR", "CONFIG_FILE", "HOST", "MDNS"):
        monkeypatch.delenv(f"TEKTON_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def looked_for(found: str | None) -> tuple[list[bool], object]:
    asked: list[bool] = []

    async def look(*_: object) -> str | None:
        asked.append(True)
        return found

    return asked, look


async def test_what_is_announced_is_found(announced: None) -> None:
    assert await browse(10, interfaces=LOOPBACK) == "http://127.0.0.1:18999"


async def test_where_nobody_announces_nothing_is_found() -> None:
    assert await browse(0.2, interfaces=LOOPBACK) is None


async def test_who_is_reached_from_this_machine_only_is_not_announced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tekton.mdns")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        async with asyncio.timeout(1):
            await announce(host, 8010)

    assert len(caplog.records) == 3


async def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)

    with pytest.raises(ConfigurationError, match=r"tekton-core\[mdns\]"):
        await browse()
    await announce("192.0.2.1", 8010)  # only logged


async def test_the_network_is_asked_only_when_that_is_on_and_given_no_credential(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, look = looked_for("http://192.0.2.7:8010")
    environment.setattr(mdns, "browse", look)

    (tmp_path / "credential").write_text("hush")
    environment.setenv("TEKTON_CREDENTIAL_FILE", str(tmp_path / "credential"))
    off = await ControlPlane.locate()
    environment.setenv("TEKTON_MDNS", "true")
    on = await ControlPlane.locate()
    environment.setenv("TEKTON_URL", "http://localhost:8010")
    named = await ControlPlane.locate()

    assert (off.url, on.url, named.url) == ("http://localhost:8010", "http://192.0.2.7:8010", "http://localhost:8010")
    assert [each.credential for each in (off, on, named)] == ["hush", None, "hush"]
    assert len(asked) == 1


async def test_when_nothing_is_found_it_is_the_usual_port(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(mdns, "browse", looked_for(None)[1])
    environment.setenv("TEKTON_MDNS", "true")

    assert await ControlPlane.locate() == ControlPlane("http://localhost:8010")
