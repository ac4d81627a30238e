"""Whatever stands in a file, an import makes a draft or refuses it in words."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.cli.importers.compose import read_compose
from tekton.cli.importers.draft import ImportedError
from tekton.cli.importers.process_compose import read_process_compose

COMPOSE = """
services:
  db:
    image: postgres:16
    environment: {A: "1", B: null}
    ports: ["127.0.0.1:5433:5432", {target: 1, published: 2}]
    volumes: ["a:/b", {source: a, target: b}]
    healthcheck: {test: ["CMD", "x"], interval: 5s, retries: 5, start_period: 2m}
    ulimits: {nofile: {soft: 4096}}
    entrypoint: x
  web:
    build: {context: ./web, dockerfile: D}
    command: ["x"]
    env_file: [{path: web.env, required: false}]
    depends_on: {db: {condition: service_healthy, restart: true}}
    deploy: {replicas: 2, resources: {limits: {memory: 512M, pids: 1}}, restart_policy: {condition: any}}
    labels: {team: core}
    profiles: [x]
"""
PROCESSES = """
environment: ["A=1"]
processes:
  api:
    command: x
    environment: ["B=1"]
    depends_on: {b: {condition: process_started}}
    readiness_probe: {http_get: {port: 1, path: /x}, period_seconds: 1}
    liveness_probe: {exec: {command: x}}
    availability: {restart: always, backoff_seconds: 1, max_restarts: 2}
    shutdown: {signal: 15, timeout_seconds: 1}
    namespace: x
  b: {entrypoint: [x]}
"""

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "x", "1m", "${A", "it's", "a:b:c", "\0"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just({"a": 1})), max_size=2),
    st.dictionaries(st.sampled_from(["a", "db", "path", "condition", "test"]), st.one_of(st.none(), st.integers())),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in members for place in [(value, key), *places(member)]]


@pytest.mark.parametrize(("text", "read"), [(COMPOSE, read_compose), (PROCESSES, read_process_compose)])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_document_with_anything_anywhere_is_read_or_refused(text: str, read: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(yaml.safe_load(text))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        container[key] = copy.deepcopy(data.draw(ANYTHING))

    try:
        draft = read(document, Path("/nowhere/file.yaml"))
    except ImportedError:
        return
    assert all(component["command"] for component in draft.components.values())
