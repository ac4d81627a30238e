"""Fixtures of the component tests: an environment without Tekton in it, and a control plane."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import tekton_registration

VARIABLES = ("URL", "PORT", "SOCKET", "CREDENTIAL_FILE", "COMPONENT_ID", "INSTANCE_UUID", "DATA_DIR", "CONFIG_FILE")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine that the tests run on is found."""
    for name in (*(f"TEKTON_{variable}" for variable in VARIABLES), "PORT", "GREETER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tekton_registration, "BACKOFF", (0.01, 0.02))
    # On a busy machine also a control plane that is there may take longer than two seconds.
    monkeypatch.setattr(tekton_registration, "GOODBYE_TIMEOUT", 60.0)


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane(interval=0.02) as plane:
        yield plane
