"""The OpenAPI 3.1 document of a route table."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from tekton.gateway import errors
from tekton.gateway.problems import MEDIA_TYPE, STATUS
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream
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


def document(routes: Iterable[Route], info: Mapping[str, str]) -> Json:
    """The document for *routes*; *info* has at least `title` and `version`."""
    routes = list(routes)
    types = [kind for route in routes for kind in (route.body, route.response) if _has_schema(kind)]
    queries = [route.query for route in routes if route.query is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem, *queries], ref_template=_REF)
    schema_of = dict(zip(map(_key, [*types, Problem, *queries]), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {"openapi": "3.1.0", "info": dict(info), "paths": paths, "components": {"schemas": components}}


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not EventStream and kind is not bytes


def _key(kind: Any) -> Any:
    return kind if isinstance(kind, type) else repr(kind)


def _operation(route: Route, schema_of: Mapping[Any, Json]) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": list(route.tags),
        "x-tekton-permission": route.permission,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, schema_of),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": not route.no_body, "content": _json(schema_of[_key(route.body)])}
    return operation


def _operation_id(route: Route) -> str:
    words = [word.strip("{}") for word in route.path.replace(".", "_").replace("-", "_").split("/") if word]
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[Json]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.parameters]


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    (_,), components = msgspec.json.schema_components([route.query], ref_template=_REF)
    schema = components[route.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": parameter}
        for name, parameter in schema["properties"].items()
    ]


def _responses(route: Route, schema_of: Mapping[Any, Json]) -> Json:
    responses: Json = {
        str(status): {"description": HTTPStatus(status).phrase, **_content(route, schema_of)}
        for status in sorted((route.status, *route.also))
    }
    for status, codes in sorted(_errors(route).items()):
        description = f"{HTTPStatus(status).phrase}: {', '.join(codes)}"
        problem = {MEDIA_TYPE: {"schema": schema_of[Problem]}}
        responses[str(status)] = {"description": description, "content": problem}
    return responses


def _content(route: Route, schema_of: Mapping[Any, Json]) -> Json:
    if route.response is None:
        return {}
    if route.response is EventStream:
        return {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    if route.response is bytes:
        return {"content": {"application/octet-stream": {}}}
    return {"content": _json(schema_of[_key(route.response)])}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


_WITH_BODY: tuple[type[TektonError], ...] = (
    errors.MalformedRequestError,
    errors.BodyTimeoutError,
    errors.BodyTooLargeError,
    errors.UnsupportedMediaTypeError,
    errors.InvalidInputError,
)


def _errors(route: Route) -> dict[int, list[str]]:
    """The codes of the errors that this route may answer with, by status."""
    kinds = [*route.errors, *(_WITH_BODY if route.body is not None else ())]
    if route.query is not None:
        kinds.append(errors.InvalidParameterError)
    if route.permission != "public":
        kinds.append(errors.CredentialRequiredError)
    by_status: dict[int, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        status = next(STATUS[base] for base in kind.__mro__ if base in STATUS)
        by_status.setdefault(status, []).append(kind.code)
    return by_status
