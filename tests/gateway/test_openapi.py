"""The document of a route table."""

import json
import re
from typing import Annotated, Any, Literal

import msgspec

from tekton.gateway.app import EventStream
from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.openapi import document
from tekton.gateway.router import Route
from tekton.utils.tekton_errors import ComponentNotFoundError, StaleInstanceError


class Body(msgspec.Struct):
    """What is asked.

    And how.
    """

    name: str


class Options(msgspec.Struct):
    wait: bool = False


class Query(msgspec.Struct):
    cursor: str
    limit: Annotated[int, msgspec.Meta(ge=1)] = 100
    name: str | None = None
    level: Literal["high", "low"] | int | None = None


class Item(msgspec.Struct):
    name: str
    child: "Item | None" = None


async def nothing(_: Any) -> None:
    pass


ROUTES = [
    Route("GET", "/a/{name}", nothing, "One", "components:read", query=Query, response=Item, tags=("things",)),
    Route(
        "POST",
        "/a/{name}",
        nothing,
        "Make one",
        body=Body,
        response=list[Item],
        status=201,
        also=(200,),
        errors=(ComponentNotFoundError, StaleInstanceError),
    ),
    Route("POST", "/a/{name}/stop", nothing, "Stop", body=Options),
    Route("GET", "/events", nothing, "Watch", response=EventStream),
    Route("GET", "/file", nothing, "Fetch", response=bytes),
    Route("GET", "/nothing", nothing, "Nothing"),
    Route("GET", "/lines", nothing, "Lines", response=Item, or_stream=True, also=(503,)),
    Route("GET", "/who", nothing, "Who", response=Item, errors=(CredentialRequiredError,)),
]
DOCUMENT = document(ROUTES, {"title": "Test", "version": "1"})


def test_the_document_is_json_and_names_every_route_once() -> None:
    text = json.dumps(DOCUMENT)
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]

    assert json.loads(text)["openapi"] == "3.1.0"
    assert DOCUMENT["info"] == {"title": "Test", "version": "1"}
    assert {(method, path) for path, item in DOCUMENT["paths"].items() for method in item} == {
        (route.method.lower(), route.path) for route in ROUTES
    }
    assert len({operation["operationId"] for operation in operations}) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    references: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            references.update([value["$ref"]] if "$ref" in value else [])
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)

    collect(DOCUMENT)

    assert references
    for reference in references:
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in DOCUMENT["components"][kind]


def test_parameters_of_path_and_query_are_described() -> None:
    operation = DOCUMENT["paths"]["/a/{name}"]["get"]

    assert [(each["name"], each["in"], each["required"]) for each in operation["parameters"]] == [
        ("name", "path", True),
        ("cursor", "query", True),
        ("limit", "query", False),
        ("name", "query", False),
        ("level", "query", False),
    ]
    assert operation["parameters"][2]["schema"] == {"type": "integer", "minimum": 1, "default": 100}
    assert operation["x-tekton-permission"] == "components:read"
    assert operation["tags"] == ["things"]


def test_a_parameter_that_may_be_absent_is_not_said_to_be_null() -> None:
    *_, name, level = (each["schema"] for each in DOCUMENT["paths"]["/a/{name}"]["get"]["parameters"])

    assert name == {"type": "string"}
    assert list(level) == ["anyOf"]
    assert {"type": "null"} not in level["anyOf"]


def test_a_parameter_of_the_path_is_what_the_router_takes() -> None:
    schema = DOCUMENT["paths"]["/a/{name}"]["get"]["parameters"][0]["schema"]

    assert re.search(schema["pattern"], "a-b_c.1")
    assert not re.search(schema["pattern"], "a/b")


def test_what_must_be_shown_is_declared() -> None:
    security = {path: next(iter(item.values()))["security"] for path, item in DOCUMENT["paths"].items()}

    assert security["/a/{name}"] == [{"bearer": []}]
    assert security["/nothing"] == []
    assert security["/who"] == [{}, {"bearer": []}]
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_what_any_request_can_be_answered_with_is_described_once() -> None:
    responses = DOCUMENT["paths"]["/nothing"]["get"]["responses"]

    assert responses.pop("200") == {"description": "OK"}
    assert {"400", "403", "408", "413", "414", "421", "422", "429", "431", "503"} == set(responses)
    assert responses["431"] == {"$ref": "#/components/responses/RequestHeaderFieldsTooLarge"}
    shared = DOCUMENT["components"]["responses"]["TooManyRequests"]
    assert "rate_limited" in shared["description"]
    assert shared["headers"]["Retry-After"]["required"] is True


def test_a_refusal_for_want_of_a_right_is_described_where_one_is_needed() -> None:
    responses = DOCUMENT["paths"]["/a/{name}"]["get"]["responses"]

    assert "unauthenticated" in responses["401"]["description"]
    assert responses["401"]["headers"]["WWW-Authenticate"]["required"] is True
    assert "forbidden" in responses["403"]["description"]


def test_an_answer_that_may_be_a_stream_or_a_refusal_has_all_their_media_types() -> None:
    responses = DOCUMENT["paths"]["/lines"]["get"]["responses"]

    assert list(responses["200"]["content"]) == ["application/json", "text/event-stream"]
    assert list(responses["503"]["content"]) == ["application/json", "text/event-stream", "application/problem+json"]


def test_descriptions_are_not_indented() -> None:
    description = DOCUMENT["components"]["schemas"]["Body"]["description"]

    assert description == "What is asked.\n\nAnd how."


def test_a_body_is_required_unless_everything_in_it_has_a_default() -> None:
    assert DOCUMENT["paths"]["/a/{name}"]["post"]["requestBody"]["required"] is True
    assert DOCUMENT["paths"]["/a/{name}/stop"]["post"]["requestBody"]["required"] is False


def test_answers_and_refusals_are_described_by_status() -> None:
    responses = DOCUMENT["paths"]["/a/{name}"]["post"]["responses"]

    for status in ("200", "201"):
        assert responses[status]["content"]["application/json"]["schema"]["type"] == "array"
    assert "component_not_found" in responses["404"]["description"]
    assert "stale_instance" in responses["409"]["description"]
    assert {"400", "408", "413", "415", "422"} <= set(responses)
    assert list(responses["404"]["content"]) == ["application/problem+json"]
    assert "401" in DOCUMENT["paths"]["/a/{name}"]["get"]["responses"]


def test_streams_and_bytes_have_their_media_types() -> None:
    assert "text/event-stream" in DOCUMENT["paths"]["/events"]["get"]["responses"]["200"]["content"]
    assert "application/octet-stream" in DOCUMENT["paths"]["/file"]["get"]["responses"]["200"]["content"]
