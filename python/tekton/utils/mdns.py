"""The control plane on the local network: announced and looked for as `_tekton._tcp.local.` (RFC 6762, RFC 6763).

Off unless `tekton.mdns` is on, and it needs the extra `mdns` (the package zeroconf). Whoever is on the network can
announce anything: what is found is a place to try, and is given no more trust than a URL that somebody typed.
"""

import asyncio
import ipaddress
import logging
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tekton.utils.tekton_errors import ConfigurationError, Mistake

if TYPE_CHECKING:
    from zeroconf import Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

__all__ = ["Announcement", "announce", "browse"]

_logger = logging.getLogger("tekton.mdns")

SERVICE = "_tekton._tcp.local."
BROWSE_TIMEOUT = 2.0


def is_beyond_loopback(host: str) -> bool:
    """True when somebody on another machine could reach *host*: only then is an announcement worth anything."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"


async def announce(host: str, port: int) -> None:
    """Announce a control plane that listens on *host*:*port* until cancelled; where nobody could reach it, return.

    What keeps it from being announced is logged, and no reason not to serve.
    """
    if not is_beyond_loopback(host):
        _logger.info("not announced on the local network: %s is reached from this machine only", host)
        return
    announcement = Announcement(port, [] if host in ("0.0.0.0", "::") else [host])
    try:
        await announcement.announce()
        await asyncio.Event().wait()
    except (ConfigurationError, OSError, ValueError) as error:
        _logger.warning("cannot be announced on the local network: %s", error)
    finally:
        await announcement.withdraw()


class Announcement:
    """Tells the network that a control plane listens on *port* of these *addresses*, until `withdraw`.

    *interfaces* are the addresses of the network interfaces to speak on; all of them unless they are given.
    """

    def __init__(self, port: int, addresses: Sequence[str] = (), *, interfaces: Sequence[str] | None = None) -> None:
        self._port = port
        self._addresses = list(addresses)
        self._interfaces = interfaces
        self._zeroconf: AsyncZeroconf | None = None

    async def announce(self) -> None:
        """Returns when the announcement is out. Raises ConfigurationError without the package zeroconf."""
        self._zeroconf = _open(self._interfaces)
        from zeroconf.asyncio import AsyncServiceInfo

        name = platform.node().partition(".")[0] or "tekton"
        info = AsyncServiceInfo(
            SERVICE,
            f"{name}-{self._port}.{SERVICE}",
            port=self._port,
            properties={"v": "1"},
            server=f"{name}.local.",
            parsed_addresses=self._addresses or _own_addresses(),
        )
        await (await self._zeroconf.async_register_service(info, allow_name_change=True))

    async def withdraw(self) -> None:
        """Say goodbye. Withdrawing what was not announced does nothing."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


async def browse(timeout: float = BROWSE_TIMEOUT, *, interfaces: Sequence[str] | None = None) -> str | None:
    """The URL of a control plane on the local network, the first that answers; None when none does within *timeout*.

    Raises ConfigurationError without the package zeroconf.
    """
    zeroconf = _open(interfaces)
    try:
        async with asyncio.timeout(timeout):
            return await _first(zeroconf.zeroconf, timeout)
    except TimeoutError:
        return None
    finally:
        await zeroconf.async_close()


async def _first(zeroconf: "Zeroconf", timeout: float) -> str | None:
    from zeroconf import ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

    names: asyncio.Queue[str] = asyncio.Queue()

    def changed(name: str, state_change: ServiceStateChange, **_: object) -> None:
        if state_change is ServiceStateChange.Added:
            names.put_nowait(name)

    browser = AsyncServiceBrowser(zeroconf, SERVICE, handlers=[changed])
    try:
        while True:
            info = AsyncServiceInfo(SERVICE, await names.get())
            if await info.async_request(zeroconf, timeout * 1000) and (url := _url(info)) is not None:
                _logger.info("found a control plane on the local network: %s", url)
                return url
    finally:
        await browser.async_cancel()


def _url(info: "AsyncServiceInfo") -> str | None:
    for address in info.parsed_addresses():
        return f"http://{f'[{address}]' if ':' in address else address}:{info.port}"
    return None


def _open(interfaces: Sequence[str] | None) -> "AsyncZeroconf":
    try:
        from zeroconf import InterfaceChoice
        from zeroconf.asyncio import AsyncZeroconf
    except ImportError:
        advice = "pip install 'tekton-core[mdns]'"
        problem = "looking on the local network needs the package zeroconf"
        raise ConfigurationError([Mistake("tekton.mdns", 0, 0, "/tekton/mdns", problem, advice)]) from None
    return AsyncZeroconf(interfaces=list(interfaces) if interfaces else InterfaceChoice.Default)


def _own_addresses() -> list[str]:
    import psutil

    families = psutil.net_if_addrs().values()
    found = (address.address.partition("%")[0] for addresses in families for address in addresses)
    return [address for address in found if _is_reachable(address)]


def _is_reachable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # the address of a network card
        return False
    return not (parsed.is_loopback or parsed.is_link_local)
