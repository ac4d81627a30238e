"""TLS as it is configured: which files, and what is wrong with them."""

from pathlib import Path

from tekton.gateway.tls import Tls, TlsFile, read_tls
from tekton.utils.tekton_config import TektonConfig


def configured_tls(config: TektonConfig, now: float | None) -> Tls | None:
    """The certificate that *config* names; None when it names none. Reads files.

    *now* (seconds since the epoch) decides what has expired; None: no matter. Raises ConfigurationError.
    """
    cert = _file(config, "tls_cert", config.tls_cert)
    key = _file(config, "tls_key", config.tls_key)
    client_ca = _file(config, "tls_client_ca", config.tls_client_ca)
    if cert is None:
        if (alone := key or client_ca) is not None:
            raise alone.mistake("is of no use without tls_cert", "set both, or none")
        return None
    if key is None:
        raise cert.mistake("is of no use without tls_key", "set both, or none")
    return read_tls(cert, key, client_ca, now)


def _file(config: TektonConfig, name: str, path: Path | None) -> TlsFile | None:
    setting = f"tekton.security.{name}"
    return None if path is None else TlsFile(path, setting, config.sources[setting])
