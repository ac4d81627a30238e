"""What is said of a control plane that others can reach."""

from pathlib import Path

import pytest

from tekton.service.exposure import exposed, exposure_warnings
from tekton.utils.tekton_config import TektonConfig


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_the_loopback_interface_is_not_exposed(host: str) -> None:
    assert not exposed(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "tekton.example", "localhost.example"])
def test_everything_else_is(host: str) -> None:
    assert exposed(host)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, []),
        ({"TEKTON_HOST": "127.0.0.1", "TEKTON_SECURITY_ENABLE_AUTH": "false"}, []),
        ({"TEKTON_HOST": "0.0.0.0"}, ["tokens travel in clear"]),
        ({"TEKTON_HOST": "0.0.0.0", "TEKTON_SECURITY_TLS_CERT": "/cert"}, []),
        (
            {"TEKTON_HOST": "0.0.0.0", "TEKTON_SECURITY_ENABLE_AUTH": "false"},
            ["tokens travel in clear", "whoever reaches 0.0.0.0"],
        ),
    ],
)
def test_what_is_open_is_said(variables: dict[str, str], said: list[str], tmp_path: Path) -> None:
    config = TektonConfig.load(environ={"HOME": str(tmp_path), **variables}, cwd=tmp_path)

    warnings = list(exposure_warnings(config))

    assert [each for each, part in zip(warnings, said, strict=True) if part in each] == warnings
