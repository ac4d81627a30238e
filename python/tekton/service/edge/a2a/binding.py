"""What both bindings have in common: the version, the body, the agent that is spoken to, and streams."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.gateway.bodies import check_json
from tekton.gateway.decoding import decode_body
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.sse import EventStream
from tekton.service.edge.a2a.errors import A2aError, Kind, error_of
from tekton.service.edge.a2a.operations import Updates
from tekton.service.edge.a2a.wire import PROTOCOL_VERSION, StreamResponse

MAX_BODY: Final = 1024 * 1024
_HEADER: Final = "a2a-version"
_PARAMETER: Final = "A2A-Version"
_VERSION: Final = re.compile(r"1(\.0(\.\d{1,4})?)?")

_json: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder()


class AnyQuery(msgspec.Struct, frozen=True):
    """A query of which nothing is refused: the protocol passes over what it does not know."""


def parameters(request: Request) -> dict[str, str]:
    """The query of *request*, the version left out."""
    pairs = parse_qsl(request.query_string, keep_blank_values=True)
    return {name: value for name, value in pairs if name != _PARAMETER}


def check_version(request: Request) -> None:
    """Return if *request* is of a version that is spoken here. Raises A2aError; without a version it is 0.3."""
    version = request.headers.get(_HEADER) or ""
    if not version and request.query_string:
        version = dict(parse_qsl(request.query_string)).get(_PARAMETER, "")
    if _VERSION.fullmatch(version.strip()) is None:
        said = f"{version[:32]!r} is not spoken here" if version else "without the header A2A-Version it is 0.3"
        raise A2aError(
            Kind.VERSION_NOT_SUPPORTED,
            f"{said}; what is: {PROTOCOL_VERSION}",
            metadata={"supported": PROTOCOL_VERSION},
        )


def read_body(request: Request) -> Any:
    """The body of *request* as JSON values. Raises UnsupportedMediaTypeError and MalformedRequestError."""
    check_json(request.headers)
    return decode_body(_json, request.body or b"")


def agent_of(registry: AgentRegistry, request: Request) -> Agent | None:
    """The agent that *request* speaks to; None for the whole system. Raises AgentNotFoundError."""
    agent_id = request.params.get("agent_id")
    return None if agent_id is None else registry.get_agent(agent_id)


def streamed(
    updates: Updates, tell: Callable[[StreamResponse], bytes], fail: Callable[[A2aError], bytes]
) -> EventStream:
    """*updates* as events, which *tell* makes of them; what they raise is the last event, which *fail* makes."""
    return EventStream(_events(updates, tell, fail), farewell=False)


async def _events(
    updates: Updates, tell: Callable[[StreamResponse], bytes], fail: Callable[[A2aError], bytes]
) -> AsyncIterator[bytes]:
    try:
        async for told in updates:
            yield b"".join(map(tell, told))
    except (CredentialRequiredError, PermissionDeniedError):  # whose stream it is may not have it any more
        raise
    except Exception as error:
        yield fail(error_of(error))
    finally:
        if isinstance(updates, AsyncGenerator):
            await updates.aclose()
