"""URLs that strangers give us, read so strictly that no two programs can read them differently.

What one parser takes for the user of a URL is the host for another; `0x7f.1`, `2130706433` and `127。0。0。1` are
127.0.0.1 for some. So only the plain form is accepted: `http` or `https`, a name in ASCII or an address in its usual
notation, a port, a path, a query. Nothing here asks the network; where a name leads is `address_policy`'s business.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

IPAddress = IPv4Address | IPv6Address

MOST_CHARACTERS: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[^\]]*\]|[^/?#:]*)(?::(?P<port>[^/?#]*))?(?P<rest>(?:[/?].*)?)"
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:0[0-9A-Fa-f]|1[0-9A-Fa-f]|7[Ff])")


class InvalidUrlError(ValueError):
    """A URL that is not accepted; the text says why, and repeats nothing of it."""


class StrictUrl(NamedTuple):
    """A URL in its parts. `host` is in lower case, without brackets; `target` is path and query.

    `address` is the host where that is an address and no name.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: IPAddress | None = None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the header `Host`; the usual port is left out."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown: paths and queries of webhooks are often secret."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def parse_url(text: str) -> StrictUrl:
    """The parts of *text*. Raises InvalidUrlError."""
    _check_characters(text)
    found = _URL.fullmatch(text)
    scheme = text.partition(":")[0]
    if scheme not in _PORTS or found is None:
        raise InvalidUrlError("must be a URL that begins with http:// or https://")
    host = found["host"].lower()
    port = _port(found["port"], _PORTS[scheme])
    target = found["rest"] if found["rest"].startswith("/") else f"/{found['rest']}"
    address = _address(host)
    if address is not None:
        return StrictUrl(scheme, str(address), port, target, address)
    _check_name(host)
    return StrictUrl(scheme, host, port, target)


def _check_characters(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise InvalidUrlError(f"must have at most {MOST_CHARACTERS} characters")
    if not text.isascii():
        raise InvalidUrlError("must be ASCII: write a name in its xn-- form, and other characters as %XX")
    if not text.isprintable() or any(character in text for character in ' \\"<>^`{|}'):
        raise InvalidUrlError("must not contain spaces, control characters, backslashes, quotes or braces")
    if "#" in text:
        raise InvalidUrlError("must not have a fragment (#)")
    if "@" in text.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise InvalidUrlError("must not name a user or a password")
    if _BAD_ESCAPE.search(text):
        raise InvalidUrlError("has a % that is no escape, or the escape of a control character")


def _port(text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not (text.isdecimal() and len(text) <= 5 and text[0] != "0" and int(text) <= 65535):
        raise InvalidUrlError("its port must be a number from 1 to 65535")
    return int(text)


def _address(host: str) -> IPAddress | None:
    try:
        if host.startswith("["):
            if "%" in host:
                raise InvalidUrlError("must not name a network interface (%)")
            return IPv6Address(host[1:-1])
        if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
            return IPv4Address(host)
    except AddressValueError:
        raise InvalidUrlError(
            "has an address in an unusual notation: write it like 192.0.2.7 or [2001:db8::7]"
        ) from None
    return None


def _check_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidUrlError("has a host that is neither a name nor an address")
