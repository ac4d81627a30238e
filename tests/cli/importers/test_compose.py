"""Docker compose files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tekton.cli.importers.compose import read_compose
from tekton.cli.importers.draft import Draft, ImportedError
from tekton.utils.config_components import ResourceLimits

FILE = """
version: "3.8"
x-common: &common
  restart: unless-stopped
services:
  db:
    image: postgres:16
    environment:
      POSTGRES_PASSWORD: ${DB_PASSWORD:?needed}
      RETRIES: 3
    ports: ["127.0.0.1:5433:5432", "6000-6010"]
    volumes: ["data:/var/lib/postgresql/data", {type: bind, source: ./sql, target: /sql, read_only: true}]
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U postgres"]
      interval: 5s
      timeout: 3s
      retries: 5
      start_period: 2m
    restart: on-failure:4
    ulimits: {nofile: {soft: 4096, hard: 8192}}
    stop_signal: SIGINT
  migrate:
    build: ./web
    command: python -m web.migrate "$TARGET"
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *common
    build: {context: ./web}
    environment:
      - DATABASE_URL=postgres://u@db:5432/x
      - DEBUG=1
      - TOKEN
    env_file: [{path: web.env}, {path: gone.env, required: false}]
    ports: ["8080:80", "9090"]
    working_dir: /app
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy, restart: true}
      ghost: {condition: service_started, required: false}
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:80/healthz"]
      disable: false
    networks: [back]
    deploy: {replicas: 2, resources: {limits: {memory: 512M, pids: 100}}}
    stop_grace_period: 1m30s
    profiles: [full]
    labels: {team: core}
    frobnicate: 3
  Cache_1:
    image: redis
    entrypoint: redis-server
    command: ["--port", "6379"]
    ports: [{target: 6379, published: 6380}]
    depends_on: [db]
    healthcheck: {test: "wget -q http://localhost:6379/ping || exit 1"}
    privileged: true
  idle:
    image: busybox
    healthcheck: {disable: true}
volumes: {data: {}}
networks: {back: {}}
"""


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Dockerfile").write_text('FROM x\nENTRYPOINT ["python", "-m", "web"]\nCMD ["--all", "$X"]\n')
    (tmp_path / "web.env").write_text("FROM_FILE=1\n")
    return read_compose(yaml.safe_load(FILE), tmp_path / "docker-compose.yml")


def test_an_image_is_run_by_docker_in_the_foreground(draft: Draft, loaded: Any) -> None:
    components = loaded(draft, DB_PASSWORD="hush")

    assert components["db"].command == [
        *("docker", "run", "--rm", "--init", "--name", "tekton-db", "--publish", "127.0.0.1:5433:5432"),
        *("--env", "POSTGRES_PASSWORD", "--env", "RETRIES"),
        *("--volume", "data:/var/lib/postgresql/data", "--volume", "./sql:/sql:ro", "postgres:16"),
    ]
    assert components["db"].env == {"POSTGRES_PASSWORD": "hush", "RETRIES": "3"}
    assert components["db"].port == 5433
    assert components["cache_1"].command == [
        *("docker", "run", "--rm", "--init", "--name", "tekton-cache_1", "--publish", "6380:6379"),
        *("--privileged", "--entrypoint", "redis-server", "redis", "--port", "6379"),
    ]


def test_what_is_built_here_runs_on_this_machine(draft: Draft, loaded: Any, tmp_path: Path) -> None:
    components = loaded(draft, TARGET="two words", TOKEN="t")

    assert components["migrate"].command == ["python", "-m", "web.migrate", "two words"]
    web = components["web"]
    assert web.command == ["python", "-m", "web", "--all", "$X"]
    assert (web.cwd, web.port) == (str(tmp_path / "web"), 80)
    assert web.env == {"FROM_FILE": "1", "DATABASE_URL": "postgres://u@db:5432/x", "DEBUG": "1", "TOKEN": "t"}


def test_conditions_become_conditions(draft: Draft, loaded: Any) -> None:
    components = loaded(draft)
    needs = {name: {need.component: need.condition for need in spec.dependencies} for name, spec in components.items()}

    assert needs == {
        "db": {},
        "idle": {},
        "migrate": {"db": "ready"},
        "web": {"migrate": "completed", "db": "ready"},
        "cache_1": {"db": "started"},
    }
    assert components["web"].on_dependency_failure == "restart"


@pytest.mark.parametrize("test", [[], ["CMD"], ["NONE"], [""], ""])
def test_a_healthcheck_that_asks_nothing_is_none(test: Any, tmp_path: Path) -> None:
    services = {"db": {"image": "postgres", "healthcheck": {"test": test}}}

    assert "ready" not in read_compose({"services": services}, tmp_path / "compose.yml").components["db"]


def test_healthchecks_become_readiness(draft: Draft, loaded: Any) -> None:
    components = loaded(draft)
    ready = components["db"].ready

    assert ready.exec == ["docker", "exec", "tekton-db", "sh", "-c", "pg_isready -U postgres"]
    assert (ready.interval, ready.timeout, ready.failures) == (5.0, 3.0, 5)
    assert components["db"].start_timeout == 145.0
    assert components["web"].ready.http == "/healthz"
    assert components["cache_1"].ready.http == "http://127.0.0.1:6380/ping"
    assert components["idle"].ready is None


def test_policies_and_limits_are_carried_over(draft: Draft, loaded: Any) -> None:
    components = loaded(draft)
    web = components["web"]

    assert {name: component.restart.policy for name, component in components.items()} == {
        "db": "on-failure",
        "migrate": "no",
        "web": "always",
        "cache_1": "no",
        "idle": "no",
    }
    assert components["db"].restart.max == 4
    assert components["db"].limits == ResourceLimits(open_files=4096)
    assert (web.replicas, web.stop_timeout, web.profiles) == (2, 90.0, ["full"])
    assert web.limits == ResourceLimits(memory=512 << 20, processes=100)
    assert web.metadata == {"labels": {"team": "core"}}


def test_everything_else_is_noted(draft: Draft, notes: Callable[[Draft], dict[str, str]]) -> None:
    assert set(notes(draft)) == {
        "docker-compose.yml.volumes",
        "docker-compose.yml.networks",
        "services.Cache_1",
        "services.Cache_1.image",
        "services.idle.image",
        "services.db.image",
        "services.db.ports",
        "services.db.stop_signal",
        "services.migrate.build",
        "services.web.build",
        "services.web.depends_on.ghost",
        "services.web.env_file",
        "services.web.environment.DATABASE_URL",
        "services.web.frobnicate",
        "services.web.networks",
        "services.web.ports",
        "services.web.restart",
        "services.web.working_dir",
    }


def test_a_command_of_a_dockerfile_may_be_a_line_for_a_shell(tmp_path: Path, loaded: Any) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nCMD python app.py \\\n  && echo\n")

    draft = read_compose({"services": {"web": {"build": "."}}}, tmp_path / "compose.yaml")

    assert loaded(draft)["web"].command == ["sh", "-c", "python app.py    && echo"]


@pytest.mark.parametrize(
    "text", ["[]", "{}", "services: {}", "services: {web: text}", "services: {web: {ports: [80]}}", "services: [web]"]
)
def test_what_is_no_such_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ImportedError):
        read_compose(yaml.safe_load(text), tmp_path / "compose.yaml")
