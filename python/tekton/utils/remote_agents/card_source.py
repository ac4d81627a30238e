"""Fetching cards: through the guard that keeps requests on somebody's behalf out of our own network.

A card is at the URL that was given, if that ends in `.json`, else at the well-known place below it (Agent2Agent 1.0,
8.2). It is asked for with the ETag of the one that is known. All of its interfaces are judged as the card's own URL is:
a card that points inside is none. So is one from an encrypted place that names an open one.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from tekton.utils.guarded_http import GuardedHttp, RefusedAnswerError, RefusedUrlError
from tekton.utils.remote_agents.card import AgentCard, BadCardError, read_card
from tekton.utils.remote_agents.credential import Credential
from tekton.utils.strict_urls import parse_url
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer

__all__ = ["CardSource", "FetchedCard", "card_url"]

WELL_KNOWN: Final = "/.well-known/agent-card.json"
MOST_BYTES: Final = 128 * 1024
TIMEOUT: Final = 10.0

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})")
_NOT_MODIFIED, _SERVER_ERROR = 304, 500
_FOR_NOW: Final = frozenset({408, 425, 429})

Verify = Callable[[AgentCard], None]
"""Raises BadCardError for a card that nobody has signed who may. It is called in a thread."""


class FetchedCard(NamedTuple):
    """*card* is None when it is the one that was known. *max_age* is in seconds, None if nothing is said of it."""

    card: AgentCard | None
    etag: str
    max_age: float | None


def card_url(url: str) -> str:
    """Where the card of the agent at *url* is."""
    path, question, query = url.partition("?")
    return url if path.endswith(".json") else f"{path.rstrip('/')}{WELL_KNOWN}{question}{query}"


class CardSource:
    """Cards through *http*. *verify* looks at their signatures."""

    def __init__(self, http: GuardedHttp, verify: Verify | None = None) -> None:
        self._http = http
        self._verify = verify

    async def __call__(self, url: str, etag: str = "", credential: Credential | None = None) -> FetchedCard:
        """Fetch the card of the agent at *url*.

        Raises BadCardError for what is not accepted, and TransportError when it is not known what there is.
        """
        place = card_url(url)
        headers = {"Accept": "application/json"} | ({"If-None-Match": etag} if etag else {})
        if credential is not None:
            headers |= credential.headers(place, url)
        try:
            answer = await self._get(place, headers)
        except (RefusedUrlError, RefusedAnswerError) as error:
            raise BadCardError(str(error)) from error
        max_age = _max_age(answer.headers.get("cache-control", ""))
        if answer.status == _NOT_MODIFIED and etag:
            return FetchedCard(None, etag, max_age)
        _check_status(place, answer.status)
        card = read_card(answer.body)
        await self._check(card, place)
        return FetchedCard(card, answer.headers.get("etag", "")[:256], max_age)

    async def _get(self, place: str, headers: dict[str, str]) -> Answer:
        async with self._http.open("GET", place, None, headers, TIMEOUT, max_answer=MOST_BYTES) as opened:
            return Answer(opened.status, opened.headers, b"".join([piece async for piece in opened.pieces]))

    async def _check(self, card: AgentCard, place: str) -> None:
        encrypted = parse_url(place).scheme == "https"
        for interface in card.interfaces:
            try:
                url = await self._http.check(interface.url)
            except RefusedUrlError as error:
                raise BadCardError(f"it points where requests may not go: {error}") from error
            if encrypted and url.scheme != "https":
                raise BadCardError("it came over https, and points to a place that does not encrypt")
        if self._verify is not None:
            await asyncio.to_thread(self._verify, card)


def _check_status(place: str, status: int) -> None:
    if status >= _SERVER_ERROR or status in _FOR_NOW:
        raise TransportError(parse_url(place).origin, f"answered {status}")
    if status != 200:
        raise BadCardError(f"there is none: answered {status}")


def _max_age(cache_control: str) -> float | None:
    text = cache_control.lower()
    if "no-store" in text or "no-cache" in text:
        return 0.0
    found = _MAX_AGE.search(text)
    return float(found[1]) if found else None
