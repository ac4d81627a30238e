"""A system with one of everything, as it stands in a components.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.generate.blueprint import Blueprint, blueprint
from tekton.utils.tekton_config import TektonConfig

COMPONENTS: dict[str, Any] = {
    "hermes": {
        "command": "python3 hermes.py --port ${PORT}",
        "port": 8001,
        "ready": {"http": "/api/ready", "interval": 0.1},
        "limits": {"memory": "512M", "open_files": 1024, "processes": 64},
        "restart": {"policy": "always"},
    },
    "migrate": {"command": ["./migrate"], "restart": {"policy": "no"}},
    "local_llm": {
        "command": ["llm", "--model", "${MODEL:-small}", "$HOME"],
        "port": 8012,
        "replicas": 2,
        "cwd": "llm",
        "ready": {"tcp": True},
        "liveness": {"exec": ["sh", "-c", "test $PORT"]},
        "env": {"API_KEY": "do-not-show-this", "TOKEN_LIMIT": "7", "ORG": "${ORGANISATION}", "PRICE": "$$5"},
        "env_file": ".env",
        "stop_timeout": 20,
        "drain": 5,
        "profiles": ["gpu"],
        "dependencies": ["hermes", {"component": "migrate", "condition": "completed"}],
    },
    "watcher": {
        "command": ["sh", "watch.sh"],
        "ready": {"heartbeat": True},
        "dependencies": ["local_llm", "elsewhere"],
    },
}
ENVIRONMENT = {"ORGANISATION": "secret-of-this-machine", "HOME": "/", "SMALL": "secret-of-this-machine"}

MakeSystem = Callable[..., Blueprint]


@pytest.fixture
def make_system(tmp_path: Path) -> MakeSystem:
    def make(
        components: dict[str, Any] = COMPONENTS,
        main: dict[str, Any] | None = None,
        security: dict[str, Any] | None = None,
        fallbacks: dict[str, Any] | None = None,
    ) -> Blueprint:
        more = {} if fallbacks is None else {"fallbacks": fallbacks}
        (tmp_path / "components.json").write_text(json.dumps({"components": components, **more}))
        (tmp_path / ".env").write_text("FROM_FILE=also-not-this\n")
        if main is not None:
            (tmp_path / "tekton.json").write_text(json.dumps({"tekton": main}))
        if security is not None:
            (tmp_path / "security.json").write_text(json.dumps(security))
        config = TektonConfig.load(tmp_path, environ=ENVIRONMENT, cwd=tmp_path)
        return blueprint(config, "registry.example/llm:1.2", "0.1.0")

    return make


@pytest.fixture
def system(make_system: MakeSystem) -> Blueprint:
    return make_system()
