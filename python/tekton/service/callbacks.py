"""How the control plane makes requests to URLs that others have given it: never but through here.

Nothing of this machine is open to them, except what `tekton.security.callback_networks` opens. Where the control plane
serves this machine only, callers could reach the components beside it anyway: so it may call them, too.
"""

from collections.abc import Callable, Container, Iterable
from collections.abc import Set as AbstractSet
from ipaddress import ip_network

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord
from tekton.utils.address_policy import AddressPolicy
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.strict_urls import InvalidUrlError, parse_url
from tekton.utils.tekton_config import TektonConfig

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def tool_policy(config: TektonConfig, ports: Callable[[], Container[int]]) -> AddressPolicy:
    """Where calls of what components offer may go: as callbacks, but of this machine to *ports*, and no others."""
    return AddressPolicy(map(ip_network, config.callback_networks), ports)


def offering_ports(
    records: Iterable[ComponentRecord], *, trusts_machine: bool, own: Container[int | None]
) -> frozenset[int]:
    """The ports of this machine at which *records* say to be, without our *own*.

    Unless every local component is trusted (*trusts_machine*), only those that the control plane runs itself count.
    """
    said = {
        local_port(record.endpoint)
        for record in records
        if record.usable and record.endpoint and (trusts_machine or record.supervised)
    }
    return frozenset(port for port in said if port is not None and port not in own)


def is_local(config: TektonConfig) -> bool:
    """True where the control plane serves this machine only."""
    return config.host in _LOCAL_HOSTS


def callback_client(config: TektonConfig, registry: ComponentRegistry) -> GuardedHttp:
    """A client for such requests. Its policy follows the registry."""
    return GuardedHttp(callback_policy(config, registry))


def callback_policy(
    config: TektonConfig, registry: ComponentRegistry, own_ports: AbstractSet[int] = frozenset()
) -> AddressPolicy:
    """Where *config* and the components in *registry* allow such requests to go: never to *own_ports* of ours."""
    networks = map(ip_network, config.callback_networks)
    if not is_local(config):
        return AddressPolicy(networks)
    # Our own ports are not among them: we would ask ourselves, as a caller of this machine.
    return AddressPolicy(networks, lambda: local_ports(registry) - {config.port} - own_ports)


def local_ports(registry: ComponentRegistry) -> frozenset[int]:
    """The ports of this machine at which live registered components say to be. O(components)."""
    endpoints = {one.endpoint for one in registry.all_instances() if one.usable and one.endpoint}
    return frozenset(port for endpoint in endpoints if (port := local_port(endpoint)) is not None)


def local_port(endpoint: str) -> int | None:
    """The port of this machine that *endpoint* is; None when it is elsewhere."""
    try:
        url = parse_url(endpoint)
    except InvalidUrlError:
        return None  # written by an earlier version, which accepted it
    return url.port if url.host in _LOCAL_HOSTS else None
