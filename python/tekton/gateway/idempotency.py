"""Requests with an `Idempotency-Key`: carried out once, answered as often as they come.

What a key is remembered for is the subject that sends it, and the request: its method, path, query and body. The rules
of `tekton.core.idempotency` are those of the answers; this file reads the header and turns answers into bytes and back.

What was refused before it was carried out (a wrong body, a missing permission) has not used up its key. Neither has
what failed and has changed nothing, because it could not be done at the moment (the store is full, or too much waits
for it) or for a defect of ours. What was begun and then given up, because the control plane stops, is unknown.
"""

import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tekton.core.attribution import attributed
from tekton.core.idempotency import Answer, Claim, IdempotencyKeys, carrying
from tekton.gateway.problems import MEDIA_TYPE, headers_of, status_of, to_problem
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.gateway.rsgi import Headers
from tekton.utils.tekton_errors import InvalidIdempotencyKeyError, TektonError

if TYPE_CHECKING:
    from tekton.core.component_lifecycle.steps import Step

KEY = "idempotency-key"
REPLAYED = "idempotency-replayed"

_KEY = re.compile(r"[!-~]{1,255}")
_PASSING = frozenset({429, 502, 503})

_logger = logging.getLogger("tekton.gateway")


async def handle_once(keys: IdempotencyKeys, request: Request, route: Route, body: bytes) -> Response:
    """Carry out a request with a key, or answer as it was answered before.

    Raises what *keys* raises, InvalidIdempotencyKeyError, and what the handler raises when that is not to be repeated.
    """
    key = _key(request.headers)
    target = f"{request.method} {request.path}?{request.query_string}"
    found = await keys.begin(request.principal.subject, key, target.encode() + b"\0" + body)
    if isinstance(found, Answer):
        return _replayed(found)
    found.secret = route.repeats == "known"
    if route.answer_of is not None:
        found.build = partial(_built, route)
    try:
        answer = await _carried_out(request, route, found, key)
    except BaseException:
        found.abandon()
        raise
    return _response(await found.conclude(answer))


async def _carried_out(request: Request, route: Route, claim: Claim, key: str) -> Answer:
    # The audit log names the key, for those who are to find out what came of it.
    by = request.attribution(key)
    try:
        with attributed(by), carrying(claim):
            result = await route.handler(request)
        return _answer(response_of(route, result))
    except Exception as error:
        status = status_of(error)
        if status in _PASSING or (status >= 500 and not claim.touched):
            raise
        if not isinstance(error, TektonError):
            _logger.error("%s %s failed", request.method, request.path, exc_info=error)
        return _answer(_problem(error, request.path))


def response_of(route: Route, result: object) -> Response:
    """What a handler has returned, as a response. Raises TypeError for a stream, which cannot be given again."""
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(204)
    if isinstance(result, bytes):
        return Response(route.status, result)
    return Response.json(result, route.status)


def _key(headers: Headers) -> str:
    values = headers.get_all(KEY)
    if len(values) != 1 or _KEY.fullmatch(values[0]) is None:
        raise InvalidIdempotencyKeyError
    return values[0]


def _built(route: Route, steps: "Sequence[Step]") -> Answer:
    assert route.answer_of is not None
    return _answer(response_of(route, route.answer_of(steps)))


def _problem(error: Exception, path: str) -> Response:
    own = [header for header in headers_of(error) if header[0] in ("retry-after", "www-authenticate", "allow")]
    return Response(status_of(error), to_problem(error, path), own, MEDIA_TYPE)


def _answer(response: Response) -> Answer:
    return Answer(response.status, response.media_type, list(response.headers), response.body.decode())


def _response(answer: Answer, headers: Sequence[tuple[str, str]] = ()) -> Response:
    return Response(answer.status, (answer.body or "").encode(), [*answer.headers, *headers], answer.media_type)


def _replayed(answer: Answer) -> Response:
    return _response(answer, [(REPLAYED, "true")])
