"""What may be meant otherwise when the control plane can be reached from elsewhere."""

import ipaddress
from collections.abc import Iterator

from tekton.utils.tekton_config import TektonConfig


def exposed(host: str) -> bool:
    """True when others than this machine can reach what listens on *host*; also for a name that only DNS knows."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True


def exposure_warnings(config: TektonConfig) -> Iterator[str]:
    """What *config* leaves open to the network, each in a sentence without a full stop."""
    if not exposed(config.host):
        return
    if config.tls_cert is None:
        yield f"tokens travel in clear: {config.host} can be reached from elsewhere, and there is no tls_cert"
    if config.enable_auth is False:
        yield f"whoever reaches {config.host} may read and register components: enable_auth is false"
