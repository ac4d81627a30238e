"""The HTTP API of the control plane: one file per resource, one table of routes."""

from functools import cache

from tekton import __version__
from tekton.gateway.openapi import document
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.service.api import (
    agents,
    audit,
    auth,
    backup,
    capabilities,
    components,
    control,
    conversations,
    degradation,
    dependencies,
    events,
    health,
    heartbeats,
    history,
    keys,
    kill,
    log_levels,
    logs,
    messages,
    metrics,
    policy,
    replicas,
    reports,
    resources,
    signing_keys,
    startup,
    streams,
    task_types,
    tasks,
    tools,
    traces,
)
from tekton.service.system import System


def all_routes(system: System) -> list[Route]:
    """Every route that the control plane serves, with the document that describes them."""
    modules = (
        health,
        history,
        startup,
        components,
        control,
        replicas,
        kill,
        backup,
        audit,
        heartbeats,
        capabilities,
        degradation,
        resources,
        dependencies,
        logs,
        log_levels,
        metrics,
        events,
        messages,
        streams,
        auth,
        policy,
        keys,
        signing_keys,
        tools,
        agents,
        tasks,
        task_types,
        reports,
        conversations,
        traces,
    )
    routes = [route for module in modules for route in module.routes(system)]

    @cache
    def encoded() -> bytes:
        return encode(document(routes, {"title": "Tekton", "version": __version__}, keyed=True))

    async def openapi(_: Request) -> Response:
        return Response(body=encoded())

    description = Route("GET", "/openapi.json", openapi, summary="This document", permission="components:read")
    routes.append(description)
    return routes
