"""Fetching cards from servers that may be hostile, over real sockets."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web

from tekton.utils.address_policy import AddressPolicy
from tekton.utils.guarded_http import GuardedHttp
from tekton.utils.remote_agents.card import AgentCard, BadCardError
from tekton.utils.remote_agents.card_source import CardSource, card_url
from tekton.utils.remote_agents.credential import Credential
from tekton.utils.strict_urls import IPAddress
from tekton.utils.tekton_errors import TransportError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HERE = AddressPolicy([ip_network("127.0.0.1")])


def card(url: str, **members: Any) -> dict[str, Any]:
    interface = {"url": f"{url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return {"name": "Reviewer", "version": "1.4.0", "supportedInterfaces": [interface], **members}


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, list[web.Request]]]:
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return await handler(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


def home(request: web.Request) -> str:
    return f"http://{request.host}"


async def usual(request: web.Request) -> web.StreamResponse:
    return web.json_response(card(home(request)))


def test_the_card_is_at_the_well_known_place_below_a_url_or_where_it_says() -> None:
    assert card_url("https://a.example") == "https://a.example/.well-known/agent-card.json"
    assert card_url("https://a.example/x/") == "https://a.example/x/.well-known/agent-card.json"
    assert card_url("https://a.example/cards/x.json") == "https://a.example/cards/x.json"


async def test_a_card_is_fetched_with_how_long_it_holds() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": '"1"', "Cache-Control": "public, max-age=90"}
        return web.json_response(card(home(request)), headers=headers)

    async with serving(handler) as (url, asked), GuardedHttp(HERE) as http:
        fetched = await CardSource(http)(url)

    assert fetched.card is not None
    assert (fetched.card.name, fetched.etag, fetched.max_age) == ("Reviewer", '"1"', 90)
    assert asked[0].path == "/.well-known/agent-card.json"


async def test_one_that_is_known_is_not_sent_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["If-None-Match"] == '"1"'
        return web.Response(status=304, headers={"Cache-Control": "no-cache"})

    async with serving(handler) as (url, _), GuardedHttp(HERE) as http:
        assert await CardSource(http)(url, '"1"') == (None, '"1"', 0.0)


async def test_the_credential_of_the_agent_is_shown() -> None:
    async with serving(usual) as (url, asked), GuardedHttp(HERE) as http:
        await CardSource(http)(url, credential=Credential("s3cret"))

    assert asked[0].headers["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://10.0.0.1/", "file:///etc/passwd", "http://[::1]/"])
async def test_a_url_that_points_inside_is_not_called(url: str) -> None:
    async with GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError):
            await CardSource(http)(url)


@pytest.mark.parametrize(
    "inside", ["http://169.254.169.254/latest", "http://127.0.0.2:1/rpc", "http://10.0.0.1/", "https://[fd00::1]/rpc"]
)
async def test_a_card_that_points_inside_is_none(inside: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        document = card(home(request))
        document["supportedInterfaces"].append({**document["supportedInterfaces"][0], "url": inside})
        return web.json_response(document)

    async with serving(handler) as (url, _), GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError, match="points where requests may not go"):
            await CardSource(http)(url)


async def test_a_name_that_leads_inside_is_none() -> None:
    async def resolve(host: str, port: int) -> list[IPAddress]:
        return [ip_address("192.168.0.1")]

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(card("https://agents.example"))

    async with serving(handler) as (url, _), GuardedHttp(HERE, resolve=resolve) as http:
        with pytest.raises(BadCardError, match="a private network"):
            await CardSource(http)(url)


async def test_a_redirect_is_not_followed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere.json")

    async with serving(handler) as (url, asked), GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError, match="redirects are not followed"):
            await CardSource(http)(url)

    assert len(asked) == 1


async def test_one_that_is_huge_is_not_read() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(card(home(request), description="x" * 200_000))

    async with serving(handler) as (url, _), GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError, match="larger than 128 KiB"):
            await CardSource(http)(url)


@pytest.mark.parametrize("status", [204, 304, 401, 403, 404, 410])
async def test_where_there_is_none_it_is_no_card(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(handler) as (url, _), GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError):
            await CardSource(http)(url)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_trouble_of_the_server_says_nothing_of_the_card(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(handler) as (url, _), GuardedHttp(HERE) as http:
        with pytest.raises(TransportError, match=str(status)):
            await CardSource(http)(url)


async def test_what_verifies_signatures_has_the_last_word() -> None:
    seen: list[AgentCard] = []

    def verify(one: AgentCard) -> None:
        seen.append(one)
        raise BadCardError("nobody has signed it")

    async with serving(usual) as (url, _), GuardedHttp(HERE) as http:
        with pytest.raises(BadCardError, match="nobody has signed it"):
            await CardSource(http, verify)(url)

    assert json.loads(json.dumps(seen[0].document)) == card(url)
