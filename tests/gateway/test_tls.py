"""What is looked at before the server is given a certificate."""

import datetime
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from tekton.gateway.tls import Tls, TlsFile, read_tls
from tekton.utils.tekton_errors import ConfigurationError

NOW = datetime.datetime.now(datetime.UTC).timestamp()
Read = Callable[..., Tls]


def file(path: Path, name: str = "tls_cert") -> TlsFile:
    return TlsFile(path, f"tekton.security.{name}", "tekton.json:3")


def read(files: Any, *, client_ca: Path | None = None, now: float | None = NOW) -> Tls:
    ca = None if client_ca is None else file(client_ca, "tls_client_ca")
    return read_tls(file(files.cert), file(files.key, "tls_key"), ca, now)


def refused(files: Any, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(files, **more)
    (mistake,) = caught.value.mistakes
    return str(mistake)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_a_certificate_and_its_key_are_read(certificate: Any, tmp_path: Path, kind: Any) -> None:
    files = certificate(tmp_path, key=kind())

    tls = read(files, client_ca=files.cert)

    assert (tls.subject, tls.cert, tls.key) == ("CN=one", files.cert.read_bytes(), files.key.read_bytes())
    assert tls.client_ca == tls.cert
    assert NOW < tls.expires_at <= datetime.datetime.now(datetime.UTC).timestamp() + 86_400 + 60
    assert "PRIVATE" not in repr(tls)


def test_the_server_gets_copies_that_nobody_else_can_read_and_that_do_not_stay(
    certificate: Any, tmp_path: Path
) -> None:
    tls = read(certificate(tmp_path))

    with tls.written() as paths:
        assert (paths.cert.read_bytes(), paths.key.read_bytes(), paths.client_ca) == (tls.cert, tls.key, None)
        assert [stat.S_IMODE(path.stat().st_mode) for path in paths[:2]] == [0o600, 0o600]
        assert stat.S_IMODE(paths.key.parent.stat().st_mode) == 0o700
    assert not paths.key.parent.exists()


@pytest.mark.parametrize("name", ["cert", "key"])
def test_a_file_that_cannot_be_read_is_named_with_the_place_that_names_it(
    certificate: Any, tmp_path: Path, name: str
) -> None:
    files = certificate(tmp_path)
    path = getattr(files, name)
    path.unlink()

    assert (
        refused(files) == f"tekton.json:3: tekton.security.tls_{name}: {path} cannot be read: No such file or directory"
    )
    path.mkdir()
    assert "Is a directory" in refused(files)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_refused(certificate: Any, tmp_path: Path, content: bytes) -> None:
    files = certificate(tmp_path)
    authority = tmp_path / "ca"
    authority.write_bytes(content)

    assert "tls_client_ca: " in (text := refused(files, client_ca=authority))
    assert "holds no certificate" in text
    files.cert.write_bytes(content)
    assert "holds no certificate in PEM form" in refused(files)


def test_what_is_no_key_is_refused(certificate: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    files.key.write_bytes(files.cert.read_bytes())

    assert "holds no private key in PEM form" in refused(files)


def test_a_key_that_is_encrypted_is_refused(certificate: Any, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files = certificate(tmp_path, key=key)
    encryption = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))

    assert "is encrypted" in refused(files)


def test_the_key_of_another_certificate_is_refused(certificate: Any, tmp_path: Path) -> None:
    one, two = certificate(tmp_path, "one"), certificate(tmp_path, "two")

    assert refused(one._replace(key=two.key)).endswith(f"{two.key} is not the key of {one.cert}")


def test_a_key_that_every_user_can_read_is_refused(certificate: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    files.key.chmod(0o640)
    read(files)
    files.key.chmod(0o604)

    assert f"can be read by every user (chmod 600 {files.key})" in refused(files)


@pytest.mark.parametrize(("days", "problem"), [((-3.0, -1.0), "expired on 20"), ((1.0, 3.0), "is not valid before 20")])
def test_a_certificate_holds_at_its_time(
    certificate: Any, tmp_path: Path, days: tuple[float, float], problem: str
) -> None:
    files = certificate(tmp_path, days=days)

    assert problem in refused(files)
    assert read(files, now=None).subject == "CN=one"


@pytest.mark.parametrize(
    "kind",
    [
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: dsa.generate_private_key(2048),
    ],
)
def test_a_key_that_the_server_would_end_the_process_over_is_refused(
    certificate: Any, tmp_path: Path, kind: Any
) -> None:
    assert "is of a kind that cannot be used" in refused(certificate(tmp_path, key=kind()))
