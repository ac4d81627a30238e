"""process-compose files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tekton.cli.importers.draft import Draft, ImportedError
from tekton.cli.importers.process_compose import read_process_compose

FILE = """
version: "0.5"
log_level: debug
environment: ["SHARED=1"]
processes:
  api:
    command: "./api | tee out.log"
    description: the front
    working_dir: ./web
    environment: ["OWN=${HOME}/x"]
    namespace: backend
    replicas: 2
    depends_on:
      migrate: {condition: process_completed_successfully}
      cache: {condition: process_healthy}
      log: {condition: process_started}
      late: {condition: process_log_ready}
      odd: {condition: service_odd}
    readiness_probe:
      http_get: {host: 127.0.0.1, scheme: http, path: /health, port: 9000}
      initial_delay_seconds: 5
      period_seconds: 2
      failure_threshold: 4
    liveness_probe: {exec: {command: "test -f alive"}, timeout_seconds: 3, success_threshold: 2}
    availability: {restart: on_failure, backoff_seconds: 2, max_restarts: 7}
    shutdown: {command: "stop it", timeout_seconds: 5, signal: 15}
  migrate: {command: "echo $$ ${SHARED}", availability: {restart: exit_on_failure}}
  cache: {entrypoint: [redis-server, --port, "1"], disabled: true, is_tty: true}
  log: {command: "x", availability: {restart: "always"}}
  late: {command: "x", ready_log_line: "up (1)"}
  odd: {command: "x"}
"""


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    (tmp_path / "web").mkdir()
    return read_process_compose(yaml.safe_load(FILE), tmp_path / "process-compose.yaml")


def test_commands_and_surroundings_are_carried_over(draft: Draft, loaded: Any, tmp_path: Path) -> None:
    components = loaded(draft)

    api = components["api"]
    assert api.command == ["sh", "-c", "./api | tee out.log"]
    assert api.env == {"SHARED": "1", "OWN": f"{tmp_path}/x"}
    assert (api.cwd, api.replicas, api.groups) == (str(tmp_path / "web"), 2, ["backend"])
    assert api.metadata == {"description": "the front"}
    assert components["migrate"].command == ["sh", "-c", "echo $$ ${SHARED}"]
    assert components["cache"].command == ["redis-server", "--port", "1"]
    assert components["cache"].profiles == ["disabled"]


def test_conditions_become_conditions(draft: Draft, loaded: Any) -> None:
    needs = {need.component: need.condition for need in loaded(draft)["api"].dependencies}

    assert needs == {"migrate": "completed", "cache": "ready", "log": "started", "late": "ready"}


def test_probes_become_probes(draft: Draft, loaded: Any) -> None:
    components = loaded(draft)
    ready, alive = components["api"].ready, components["api"].liveness

    assert (ready.http, ready.interval, ready.failures) == ("http://127.0.0.1:9000/health", 2.0, 4)
    assert (alive.exec, alive.timeout, alive.successes) == (["test", "-f", "alive"], 3.0, 2)
    assert components["late"].ready.log == r"up\ \(1\)"


def test_restarts_and_stops_are_carried_over(draft: Draft, loaded: Any) -> None:
    components = loaded(draft)

    restart = components["api"].restart
    assert (restart.policy, restart.max, restart.backoff) == ("on-failure", 7, (2.0, 60.0))
    assert components["api"].stop_timeout == 5.0
    policies = {name: component.restart.policy for name, component in components.items()}
    assert policies == {"api": "on-failure", "log": "always"} | dict.fromkeys(("migrate", "cache", "late", "odd"), "no")


def test_everything_else_is_noted(draft: Draft, notes: Callable[[Draft], dict[str, str]]) -> None:
    assert set(notes(draft)) == {
        "process-compose.yaml.log_level",
        "processes.api.depends_on.odd",
        "processes.api.readiness_probe.initial_delay_seconds",
        "processes.api.shutdown.command",
        "processes.migrate.availability.restart",
        "processes.cache.is_tty",
        "processes.cache.disabled",
    }


@pytest.mark.parametrize("text", ["[]", "{}", "processes: {}", "processes: {web: {}}", "processes: {web: text}"])
def test_what_is_no_such_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ImportedError):
        read_process_compose(yaml.safe_load(text), tmp_path / "x.yaml")
