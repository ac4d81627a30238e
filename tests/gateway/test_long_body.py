"""Answers that are made while they are sent, through a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tekton.gateway.app import Request, Route
from tekton.gateway.long_body import LongBody

PIECE = b"x" * 100_000


class Source:
    """Pieces, counted as they are taken."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
        self.closed = asyncio.Event()
        self._count = count
        self._error = error

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while self.taken < self._count:
                self.taken += 1
                yield PIECE
            if self._error is not None:
                raise self._error
        finally:
            self.closed.set()

    def route(self, cut: bytes = b"") -> Route:
        async def answer(_: Request) -> LongBody:
            return LongBody(self.pieces(), "text/plain", cut, [("x-kind", "long")])

        return Route("GET", "/long", answer, "Long")


async def test_all_pieces_arrive_in_order(serve: Any) -> None:
    source = Source(30)
    server = await serve([source.route()])

    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/long") as answer:
        body = await answer.read()

    assert (answer.status, body) == (200, PIECE * 30)
    assert answer.headers["content-type"] == "text/plain"
    assert (answer.headers["x-kind"], answer.headers["cache-control"]) == ("long", "no-store")


async def test_a_head_takes_no_piece(serve: Any) -> None:
    source = Source(30)
    server = await serve([source.route()])

    async with aiohttp.ClientSession() as session, session.head(f"{server.url}/long") as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert source.taken == 0


async def test_what_fails_before_the_first_piece_is_answered_as_what_it_is(serve: Any) -> None:
    server = await serve([Source(0, ValueError("secret")).route()])

    answer = await server.request("GET", "/long")

    assert (answer.status, answer.json["code"]) == (500, "internal")


async def test_what_fails_half_way_says_that_it_is_not_all(serve: Any) -> None:
    server = await serve([Source(3, ValueError("secret")).route(b"cut")])

    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/long") as answer:
        body = await answer.read()

    assert body == PIECE * 3 + b"cut"


async def test_for_a_client_that_goes_no_more_pieces_are_made(serve: Any) -> None:
    source = Source(1_000_000)
    server = await serve([source.route()])

    async with asyncio.timeout(20):
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/long") as answer:
            await answer.content.readexactly(1000)
        await source.closed.wait()

    assert source.taken < 1_000_000
