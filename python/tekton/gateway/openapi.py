"""The OpenAPI 3.1 document of a route table."""

import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from tekton.gateway import errors
from tekton.gateway.problems import MEDIA_TYPE, STATUS
from tekton.gateway.router import CALLERS, PUBLIC, VALUE, Route
from tekton.gateway.sse import EventStream
from tekton.utils import tekton_errors
from tekton.utils.tekton_errors import TektonError

Json = dict[str, Any]


class Problem(msgspec.Struct):
    """What every error is answered with (RFC 9457); further members depend on the `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    hint: str | None = None
    pointer: str | None = None


_REF = "#/components/schemas/{name}"


def document(routes: Iterable[Route], info: Mapping[str, str], *, keyed: bool = False) -> Json:
    """The document for *routes*; *info* has at least `title` and `version`. *keyed*: idempotency keys are heeded."""
    routes = list(routes)
    types = [kind for route in routes for kind in (route.body, route.response) if _has_schema(kind)]
    queries = [route.query for route in routes if route.query is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem, *queries], ref_template=_REF)
    schema_of = dict(zip(map(_key, [*types, Problem, *queries]), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        operation = _operation(route, schema_of, keyed=keyed and route.keyed)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    shared = {_name(status): _problem(status, codes) for status, codes in _ANY.items()}
    common = {"schemas": components, "responses": shared, "securitySchemes": {"bearer": _BEARER}}
    return {"openapi": "3.1.0", "info": dict(info), "paths": paths, "components": common}


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not EventStream and kind is not bytes


def _key(kind: Any) -> Any:
    return kind if isinstance(kind, type) else repr(kind)


def _operation(route: Route, schema_of: Mapping[Any, Json], *, keyed: bool) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": list(route.tags),
        "x-tekton-permission": route.permission,
        "security": _security(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *([_KEY] if keyed else [])],
        "responses": _responses(route, schema_of, keyed=keyed),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": not route.no_body, "content": _json(schema_of[_key(route.body)])}
    elif route.raw:
        operation["requestBody"] = {"content": {media_type: {} for media_type in route.raw}}
    return operation


def _operation_id(route: Route) -> str:
    words = [word.strip("{}") for word in route.path.replace(".", "_").replace("-", "_").split("/") if word]
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[Json]:
    schema = {"type": "string", "pattern": f"^{VALUE}$"}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in route.parameters]


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    (_,), components = msgspec.json.schema_components([route.query], ref_template=_REF)
    schema = components[route.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _as_text(parameter)}
        for name, parameter in schema["properties"].items()
    ]


def _as_text(schema: Json) -> Json:
    """*schema* of a parameter. In a query nothing is null: what may be is what may be left out."""
    rest = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _security(route: Route) -> list[Json]:
    """What must be shown; a public route that looks at what is shown refuses it when it is not valid."""
    if route.permission not in (PUBLIC, CALLERS):
        return [{"bearer": []}]
    looks = route.permission == CALLERS or errors.CredentialRequiredError in route.errors
    return [{}, {"bearer": []}] if looks else []


def _responses(route: Route, schema_of: Mapping[Any, Json], *, keyed: bool) -> Json:
    responses: Json = {
        str(status): {"description": HTTPStatus(status).phrase, **_content(route, schema_of)}
        for status in sorted((route.status, *route.also))
    }
    for status, codes in sorted(_errors(route, keyed=keyed).items()):
        problem = _problem(status, codes)
        if (plain := responses.get(str(status))) is not None:
            plain["content"] |= problem["content"]
        elif codes == _ANY.get(status):
            responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
        else:
            responses[str(status)] = problem
    return responses


def _problem(status: int, codes: Iterable[str]) -> Json:
    problem: Json = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
    return problem | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _content(route: Route, schema_of: Mapping[Any, Json]) -> Json:
    if route.response is None:
        return {}
    if route.response is EventStream:
        return {"content": _STREAM}
    if route.response is bytes:
        return {"content": {media_type: {} for media_type in route.media_types}}
    content = _json(schema_of[_key(route.response)])
    return {"content": content | (_STREAM if route.or_stream else {})}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


_STREAM: Json = {"text/event-stream": {"schema": {"type": "string"}}}

_BEARER: Json = {
    "type": "http",
    "scheme": "bearer",
    "description": "The owner's credential, that of a component, a token, or an API key. Without one, callers on this "
    "machine have the role anonymous, unless enable_auth is true.",
}

_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}},
}


_WITH_BODY: tuple[type[TektonError], ...] = (
    errors.UnsupportedMediaTypeError,
    errors.InvalidInputError,
)


_WITH_KEY: tuple[type[TektonError], ...] = (
    tekton_errors.RequestRunningError,
    tekton_errors.OutcomeUnknownError,
    tekton_errors.AnswerNotKeptError,
    tekton_errors.InvalidIdempotencyKeyError,
    tekton_errors.IdempotencyKeyReusedError,
    tekton_errors.TooManyIdempotencyKeysError,
)

_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "What the request is to be known by when it is sent again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _by_status(kinds: Iterable[type[TektonError]]) -> dict[int, list[str]]:
    by_status: dict[int, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        by_status.setdefault(status, []).append(kind.code)
    return by_status


_WITH_ANY: tuple[type[TektonError], ...] = (
    errors.MalformedRequestError,
    errors.ForeignOriginError,
    errors.BodyTimeoutError,
    errors.BodyTooLargeError,
    errors.TargetTooLongError,
    errors.MisdirectedRequestError,
    errors.InvalidParameterError,
    errors.RateLimitedError,
    errors.TooManyHeadersError,
    errors.HeadersTooLargeError,
    errors.UnavailableError,
    errors.OverloadedError,
)

_ANY = _by_status(_WITH_ANY)
"""The codes that any request may be answered with, by status."""


def _errors(route: Route, *, keyed: bool) -> dict[int, list[str]]:
    """The codes of the errors that this route may answer with, by status."""
    kinds = [*route.errors, *(_WITH_BODY if route.body is not None else ())]
    if route.permission != PUBLIC:
        kinds += [errors.CredentialRequiredError, errors.PermissionDeniedError]
    if keyed:
        kinds += _WITH_KEY
    return _by_status([*kinds, *_WITH_ANY])
