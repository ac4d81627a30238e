"""The certificate that the server shows: read, checked, and handed to it.

The server ends the process over a file that it cannot use, at the start as well as when a certificate is renewed. So
everything is read and checked here first, and what the server is given are copies of what was checked: somebody may be
replacing the files just then.
"""

import datetime
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tekton.utils.tekton_errors import ConfigurationError, Mistake

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_OTHERS = 0o007
_CURVES = ("secp256r1", "secp384r1")
_RSA_BITS = range(2048, 4097)


class TlsFile(NamedTuple):
    """A file, and the `setting` that names it; `origin` is where that was set, for messages."""

    path: Path
    setting: str
    origin: str

    def mistake(self, problem: str, advice: str | None = None) -> ConfigurationError:
        """The error that says what is wrong with the file."""
        return ConfigurationError([Mistake(self.origin, 0, 0, "", f"{self.setting}: {self.path} {problem}", advice)])


class TlsPaths(NamedTuple):
    """Files as the server wants them."""

    cert: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain with its key, in PEM, and the authorities of clients if these must show certificates.

    `expires_at` is in seconds since the epoch.
    """

    cert: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: bytes | None = field(repr=False)
    subject: str
    expires_at: float

    @contextmanager
    def written(self) -> Iterator[TlsPaths]:
        """The same in files that nobody else can read, for the length of the block."""
        with tempfile.TemporaryDirectory(prefix="tekton-") as directory:
            names = (("cert", self.cert), ("key", self.key), ("client_ca", self.client_ca))
            paths = {name: _write(Path(directory) / name, content) for name, content in names if content is not None}
            yield TlsPaths(paths["cert"], paths["key"], paths.get("client_ca"))


def read_tls(cert: TlsFile, key: TlsFile, client_ca: TlsFile | None, now: float | None) -> Tls:
    """Read and check the files. *now* (seconds since the epoch) decides what has expired; None: no matter.

    Raises ConfigurationError for the first thing that is wrong.
    """
    chain = _parsed(cert, "holds no certificate in PEM form", _certificates)
    own = chain[0]
    if now is not None:
        _check_dates(cert, own, now)
    private = _parsed(key, "holds no private key in PEM form", lambda content: _private_key(key, content))
    _check_mode(key)
    _check_kind(key, private)
    if _public(private.public_key()) != _public(own.public_key()):
        raise key.mistake(f"is not the key of {cert.path}")
    if client_ca is not None:
        _parsed(client_ca, "holds no certificate in PEM form", _certificates)
    return Tls(
        cert=_read(cert),
        key=_read(key),
        client_ca=None if client_ca is None else _read(client_ca),
        subject=own.subject.rfc4514_string(),
        expires_at=own.not_valid_after_utc.timestamp(),
    )


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def _read(file: TlsFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise file.mistake(f"cannot be read: {error.strerror}") from error


def _parsed(file: TlsFile, problem: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(_read(file))
    except ValueError as error:
        raise file.mistake(problem) from error


def _certificates(content: bytes) -> "list[Certificate]":
    from cryptography import x509

    certificates = x509.load_pem_x509_certificates(content)
    if any(one.version is not x509.Version.v3 for one in certificates):
        raise ValueError("a certificate of an old version")
    return certificates


def _private_key(key: TlsFile, content: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(content, password=None)
    except TypeError as error:
        raise key.mistake("is encrypted", "openssl pkey -in it -out it.open, and chmod 600") from error
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def _check_dates(file: TlsFile, certificate: "Certificate", now: float) -> None:
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if moment > certificate.not_valid_after_utc:
        raise file.mistake(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it")
    if moment < certificate.not_valid_before_utc:
        raise file.mistake(f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _check_mode(key: TlsFile) -> None:
    try:
        mode = key.path.stat().st_mode
    except OSError as error:
        raise key.mistake(f"cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise key.mistake("can be read by every user", f"chmod 600 {key.path}")


def _check_kind(key: TlsFile, private: Any) -> None:
    """Only what the server can use: it knows no other kinds."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    match private:
        case Ed25519PrivateKey():
            return
        case EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return
        case RSAPrivateKey() if private.key_size in _RSA_BITS:
            return
    raise key.mistake("is of a kind that cannot be used", "P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits")


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
