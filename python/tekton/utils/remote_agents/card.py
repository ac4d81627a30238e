"""The card of an agent that is somewhere else (Agent2Agent 1.0, 4.4.1): what it says that it can do, and where.

A stranger has written it. What is needed of it is read strictly, all else ignored; names become valid ones, texts are
cut. The interfaces that are kept are those that can be spoken: JSON-RPC and HTTP+JSON, of version 1.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from tekton.a2a.agent import MOST_NAMES, MOST_TEXT, Skill
from tekton.a2a.versions import InvalidVersionError, Version
from tekton.utils.json_depth import is_deeper
from tekton.utils.misfits import misfit
from tekton.utils.strict_urls import InvalidUrlError, parse_url
from tekton.utils.tekton_ids import nearest_id

__all__ = ["BINDINGS", "AgentCard", "BadCardError", "CardInterface", "read_card"]

BINDINGS: Final = ("JSONRPC", "HTTP+JSON")
MOST_LEVELS: Final = 20
MOST_INTERFACES: Final = 16

_VERSION_1 = re.compile(r"1(\.\d{1,9}){0,2}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")


class BadCardError(Exception):
    """Something is no card, or none that is accepted. The text says why."""


class CardInterface(NamedTuple):
    """A way to speak to an agent. *binding* is one of `BINDINGS`."""

    url: str
    binding: str
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class AgentCard:
    """What is used of a card. *document* is all of it, as JSON values; do not change it.

    *version* is one of Semantic Versioning, `0.0.0` where the card has none of that kind.
    """

    name: str
    description: str
    version: str
    skills: tuple[Skill, ...]
    interfaces: tuple[CardInterface, ...]
    streaming: bool
    document: dict[str, Any] = field(repr=False, compare=False)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it can be asked for: the ids of its skills."""
        return tuple(skill.skill_id for skill in self.skills)


class _Interface(msgspec.Struct, rename="camel"):
    url: str
    protocol_binding: str
    protocol_version: str
    tenant: str = ""


class _Skill(msgspec.Struct):
    id: str
    name: str
    description: str = ""
    tags: list[str] = []


class _Extension(msgspec.Struct):
    uri: str = ""
    required: bool = False


class _Capabilities(msgspec.Struct):
    streaming: bool = False
    extensions: list[_Extension] = []


class _Card(msgspec.Struct, rename="camel"):
    name: str
    version: str
    supported_interfaces: list[_Interface]
    description: str = ""
    capabilities: _Capabilities = msgspec.field(default_factory=_Capabilities)
    skills: list[_Skill] = []


def read_card(body: bytes) -> AgentCard:
    """The card that *body* is. Raises BadCardError. O(bytes)."""
    document = _document(body)
    try:
        card = msgspec.convert(document, _Card)
    except msgspec.ValidationError as error:
        found = misfit(_Card, str(error))
        raise BadCardError(f"{found.pointer or '/'}: {found.problem}") from None
    required = [one.uri for one in card.capabilities.extensions if one.required]
    if required:
        raise BadCardError(f"it requires an extension that is not known here: {required[0][:200]}")
    if not card.name.strip():
        raise BadCardError("/name: it is empty")
    return AgentCard(
        card.name[:MOST_TEXT],
        card.description[:MOST_TEXT],
        _version(card.version),
        _skills(card.skills),
        _interfaces(card.supported_interfaces),
        card.capabilities.streaming,
        document,
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadCardError(f"it is no JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise BadCardError("it is no JSON object")
    if is_deeper(document, MOST_LEVELS):
        raise BadCardError(f"it is nested more than {MOST_LEVELS} levels deep")
    kept = _without_nulls(document)
    assert isinstance(kept, dict)
    return kept


def _without_nulls(value: Any) -> Any:
    """Null stands for a member that is not there (ProtoJSON)."""
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _version(text: str) -> str:
    version = text.removeprefix("v")
    try:
        Version.parse(version)
    except InvalidVersionError:
        return "0.0.0"
    return version


def _skills(skills: list[_Skill]) -> tuple[Skill, ...]:
    if len(skills) > MOST_NAMES:
        raise BadCardError(f"/skills: more than {MOST_NAMES}")
    kept = {
        skill_id: Skill(skill_id, skill.name[:MOST_TEXT], skill.description[:MOST_TEXT], _names(skill.tags))
        for skill in skills
        if (skill_id := _name(skill.id)) is not None
    }
    return tuple(kept.values())


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in texts if (name := _name(text)) is not None))[:MOST_NAMES]


def _name(text: str) -> str | None:
    """The nearest valid name; None when nothing of *text* can be kept."""
    parts = [nearest_id(part) for part in text[:255].split(".")]
    return ".".join(part for part in parts if part) or None


def _interfaces(interfaces: list[_Interface]) -> tuple[CardInterface, ...]:
    if len(interfaces) > MOST_INTERFACES:
        raise BadCardError(f"/supportedInterfaces: more than {MOST_INTERFACES}")
    usable = [
        CardInterface(one.url, one.protocol_binding, one.tenant)
        for one in interfaces
        if one.protocol_binding in BINDINGS and _VERSION_1.fullmatch(one.protocol_version)
    ]
    if not usable:
        raise BadCardError("/supportedInterfaces: none of them is JSONRPC or HTTP+JSON of protocol version 1.0")
    for one in usable:
        _check_interface(one)
    return tuple(usable)


def _check_interface(interface: CardInterface) -> None:
    try:
        url = parse_url(interface.url)
    except InvalidUrlError as error:
        raise BadCardError(f"/supportedInterfaces: a URL {error}") from None
    if "?" in url.target:
        raise BadCardError("/supportedInterfaces: a URL has a query")
    # It becomes a part of the path.
    if interface.tenant and not _TENANT.fullmatch(interface.tenant):
        raise BadCardError("/supportedInterfaces: a tenant is no plain name")
