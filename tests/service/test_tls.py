"""Which files the configuration names for TLS."""

from pathlib import Path
from typing import Any

import pytest

from tekton.service.tls import configured_tls
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError


def load(folder: Path, **security: Path) -> TektonConfig:
    variables = {f"TEKTON_SECURITY_{name.upper()}": str(path) for name, path in security.items()}
    return TektonConfig.load(environ={"HOME": str(folder), **variables}, cwd=folder)


def test_without_files_there_is_no_tls(tmp_path: Path) -> None:
    assert configured_tls(load(tmp_path), 0.0) is None


def test_the_files_are_read(certificate: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)

    tls = configured_tls(load(tmp_path, tls_cert=files.cert, tls_key=files.key, tls_client_ca=files.cert), None)

    assert tls is not None
    assert (tls.subject, tls.client_ca) == ("CN=one", files.cert.read_bytes())


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_client_ca"])
def test_half_of_it_is_a_mistake_at_its_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"env TEKTON_SECURITY_{name.upper()}: .* is of no use without"):
        configured_tls(load(tmp_path, **{name: tmp_path / "file"}), None)
