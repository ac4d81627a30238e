"""The services of examples/system: each started by itself, asked what its documentation says, ended by SIGTERM."""

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_config import TektonConfig

SYSTEM = Path(__file__).resolve().parent.parent.parent / "examples" / "system"
PATIENCE = 10.0

COMMANDS = {
    "hermes": [sys.executable, "hermes.py"],
    "engram": [sys.executable, "engram.py"],
    "rhetor": ["node", "rhetor.mjs"],
    "local_llm": [sys.executable, "local_llm.py"],
    "athena": ["perl", "athena.pl"],
    "ergon": [sys.executable, "ergon.py"],
    "telos": ["sh", "telos.sh"],
    "api_gateway": [sys.executable, "api_gateway.py"],
}

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
needs_perl = pytest.mark.skipif(shutil.which("perl") is None, reason="perl is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Service:
    """One of the services, running."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TEKTON_", "COV_"))}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                COMMANDS[name],
                cwd=SYSTEM,
                env={**kept, **environment, "PORT": str(self.port), "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def await_health(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError, http.client.HTTPException):
                if self.send("GET", "/api/health")[0] == 200:
                    return
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def send(self, method: str, path: str, body: Any = None, *, accept: str = "*/*") -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
        text = isinstance(body, str)
        content = body if text or body is None else json.dumps(body)
        kind = "text/plain" if text else "application/json"
        try:
            connection.request(method, path, content, {"accept": accept, **({"content-type": kind} if content else {})})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self.send(method, path, body)
        assert status == 200, content
        return json.loads(content)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def running(name: str, directory: Path, environment: dict[str, str]) -> Iterator[Service]:
    service = Service(name, environment, directory / f"{name}.log")
    try:
        service.await_health()
        yield service
    finally:
        # All of it: a shell service has a server of its own.
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


class System:
    """hermes and engram, and what tests add to them; each knows where the others are."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self.directory = directory
        self.environment = {"ENGRAM_FILE": str(directory / "engram.json")}

    def start(self, name: str) -> Service:
        service = self._stack.enter_context(running(name, self.directory, self.environment))
        self.environment[f"{name.upper()}_URL"] = f"{service.url}/api"
        return service


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with ExitStack() as stack:
        yield System(stack, tmp_path)


def test_the_system_is_the_graph_of_the_specification_and_shows_every_kind_of_readiness() -> None:
    config = TektonConfig.load(SYSTEM, environ={}, cwd=SYSTEM)

    graph = {name: [need.component for need in spec.dependencies] for name, spec in config.components.items()}
    assert graph == {
        "hermes": [],
        "engram": ["hermes"],
        "rhetor": ["hermes", "engram"],
        "local_llm": [],
        "athena": ["hermes", "engram"],
        "ergon": ["hermes", "rhetor"],
        "telos": [],
        "api_gateway": ["hermes", "engram", "rhetor"],
    }
    kinds = {
        kind
        for spec in config.components.values()
        for kind in ("http", "tcp", "log", "exec", "heartbeat")
        if spec.ready is not None and getattr(spec.ready, kind) is not None
    }
    assert kinds == {"http", "tcp", "log", "exec", "heartbeat"}


def test_hermes_keeps_a_directory_and_passes_messages_on(system: System) -> None:
    hermes = system.start("hermes")

    hermes.call("PUT", "/api/registry/services/engram", {"url": "http://127.0.0.1:8000"})
    first = hermes.call("POST", "/api/topics/news/messages", {"n": 1})
    hermes.call("POST", "/api/topics/news/messages", {"n": 2})

    assert hermes.call("GET", "/api/registry/services") == {"services": {"engram": "http://127.0.0.1:8000"}}
    news = hermes.call("GET", f"/api/topics/news/messages?after={first['sequence']}&wait=5")
    assert news == {"messages": [{"sequence": 2, "content": {"n": 2}}]}
    assert hermes.send("PUT", "/api/registry/services/engram", {})[0] == 422
    assert hermes.send("GET", "/api/nothing")[0] == 404
    assert hermes.end() == 0


def test_hermes_keeps_its_directory_in_the_file_that_is_named(system: System, tmp_path: Path) -> None:
    system.environment["HERMES_DB_PATH"] = str(tmp_path / "hermes.db")
    first = system.start("hermes")
    first.call("PUT", "/api/registry/services/engram", {"url": "http://127.0.0.1:8000"})
    first.call("PUT", "/api/registry/services/ergon", {"url": "http://127.0.0.1:8002"})
    first.call("DELETE", "/api/registry/services/ergon")
    assert first.end() == 0

    again = system.start("hermes")

    assert again.call("GET", "/api/registry/services") == {"services": {"engram": "http://127.0.0.1:8000"}}
    assert again.send("DELETE", "/api/registry/services/ergon")[0] == 404


async def test_a_service_that_nobody_has_started_for_tekton_takes_part_by_its_key(
    system: System, tmp_path: Path
) -> None:
    async with InMemoryControlPlane(interval=0.1) as plane:
        (tmp_path / "key").write_text(await plane.token("hermes", "component"))
        system.environment |= {"TEKTON_URL": plane.address.url, "TEKTON_CREDENTIAL_FILE": str(tmp_path / "key")}
        hermes = await asyncio.to_thread(system.start, "hermes")

        first = await reaches(plane, "hermes")
        await plane.registry.deregister("hermes", first.instance_uuid)
        again = await reaches(plane, "hermes")
        assert await asyncio.to_thread(hermes.end) == 0

        assert first.endpoint == hermes.url
        assert set(first.capabilities) == {"service_directory", "messaging"}
        assert again.instance_uuid != first.instance_uuid
        left = plane.record("hermes")
        assert left.state is ComponentState.STOPPED


def test_engram_remembers_across_a_restart_and_tells_hermes(system: System) -> None:
    hermes = system.start("hermes")
    engram = system.start("engram")

    engram.call("POST", "/api/memory/store", {"key": "my_data", "value": {"some": "data"}})
    engram.call("POST", "/api/memory/store", {"key": "notes.a", "value": "A note."})
    assert engram.end() == 0
    engram = system.start("engram")

    assert engram.call("GET", "/api/memory/my_data")["value"] == {"some": "data"}
    assert engram.send("GET", "/api/memory/notes.a", accept="text/plain") == (200, b"A note.")
    assert engram.call("GET", "/api/memory?prefix=notes.") == {"memories": {"notes.a": "A note."}}
    engram.call("DELETE", "/api/memory/notes.a")
    assert engram.send("GET", "/api/memory/notes.a")[0] == 404
    news = hermes.call("GET", "/api/topics/memory.updated/messages")["messages"]
    assert [message["content"] for message in news] == [
        {"stored": "my_data"},
        {"stored": "notes.a"},
        {"forgotten": "notes.a"},
    ]
    assert list(hermes.call("GET", "/api/registry/services")["services"]) == ["engram"]


def test_engram_does_without_hermes(system: System) -> None:
    system.environment["HERMES_URL"] = "http://127.0.0.1:1/api"
    engram = system.start("engram")

    engram.call("POST", "/api/memory/store", {"key": "a", "value": 1})

    assert engram.call("GET", "/api/memory/a")["value"] == 1
    assert "not published" in engram.log


@needs_node
def test_rhetor_summarizes_and_invents_the_same_for_the_same_seed(system: System) -> None:
    system.start("hermes")
    engram = system.start("engram")
    rhetor = system.start("rhetor")
    engram.call("POST", "/api/memory/store", {"key": "notes.a", "value": "Cats sleep. Cats and dogs sleep. Rain fell."})

    text = "Ships carry cargo. Gulls cry. Ships carry people and cargo over the sea."
    summary = rhetor.call("POST", "/api/summarize", {"text": text, "sentences": 2})["text"]
    noted = rhetor.call("POST", "/api/summarize", {"prefix": "notes.", "sentences": 1})["text"]
    riffs = [rhetor.call("POST", "/api/generate", {"prefix": "notes.", "words": 9, "seed": 7})["text"] for _ in "ab"]

    assert summary == "Ships carry cargo. Ships carry people and cargo over the sea."
    assert noted in ("Cats sleep.", "Cats and dogs sleep.")
    assert riffs[0] == riffs[1]
    assert len(riffs[0].split()) == 9
    assert rhetor.send("POST", "/api/summarize", {})[0] == 422
    assert rhetor.send("POST", "/api/generate", {"text": "a", "words": -1})[0] == 422
    assert rhetor.end() == 0


def test_local_llm_says_as_many_words_as_are_wanted_as_the_model_that_is_named(system: System) -> None:
    local_llm = system.start("local_llm")

    said = local_llm.call("POST", "/api/generate", {"words": 3, "model": "small", "prefix": "notes."})["text"]

    assert said == "[small] I am a"
    assert local_llm.end() == 0


@needs_node
def test_rhetor_says_that_its_port_is_taken_and_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**os.environ, "PORT": str(taken.getsockname()[1]), "TEKTON_URL": ""}
        result = subprocess.run(
            COMMANDS["rhetor"], cwd=SYSTEM, env=environment, capture_output=True, text=True, timeout=10, check=False
        )

    assert result.returncode == 1
    assert "EADDRINUSE" in result.stdout


@needs_perl
def test_athena_answers_queries_and_keeps_its_triples_in_engram(system: System) -> None:
    system.start("hermes")
    system.start("engram")
    athena = system.start("athena")

    athena.call("POST", "/api/triples", "socrates teaches plato\nplato teaches aristotle\nplato is philosopher\n")
    assert athena.end() == 0
    athena = system.start("athena")

    chain = athena.call("GET", f"/api/query?where={quote('?who teaches ?whom . ?whom teaches ?last')}")
    assert chain == {"bindings": [{"who": "socrates", "whom": "plato", "last": "aristotle"}]}
    assert athena.call("GET", f"/api/query?where={quote('?x teaches ?x')}") == {"bindings": []}
    assert athena.call("DELETE", "/api/triples", "plato is philosopher")["triples"] == 2
    assert athena.send("GET", "/api/query?where=nonsense")[0] == 422


@needs_perl
def test_athena_serves_others_while_one_client_says_nothing(system: System) -> None:
    system.start("hermes")
    system.start("engram")
    athena = system.start("athena")

    with socket.create_connection(("127.0.0.1", athena.port)) as silent:
        silent.sendall(b"GET /api/hea")
        assert athena.call("GET", "/api/health")["status"] == "ok"


@needs_node
def test_the_gateway_asks_everybody_at_once(system: System) -> None:
    hermes = system.start("hermes")
    system.start("engram")
    system.start("rhetor")
    system.environment |= {f"{name}_URL": "http://127.0.0.1:1" for name in ("ATHENA", "ERGON", "TELOS")}
    gateway = system.start("api_gateway")

    gateway.call("POST", "/api/notes", {"key": "monday", "text": "Tekton starts what is needed first. It rained."})

    overview = gateway.call("GET", "/api/overview")
    answering = [name for name, answers in overview["components"].items() if answers]
    assert answering == ["hermes", "engram", "rhetor"]
    assert (overview["memories"], overview["open_requirements"]) == (1, None)
    assert gateway.call("GET", "/api/brief?about=tekton")["facts"] is None
    assert "Tekton starts what is needed first." in gateway.call("GET", "/api/brief")["summary"]
    assert gateway.send("GET", "/api/ready")[0] == 200
    hermes.end()
    assert gateway.send("GET", "/api/ready")[0] == 503
    assert gateway.end() == 0


async def register(plane: InMemoryControlPlane, service: Service) -> None:
    """Put a running service into the registry, as the supervisor does."""
    registration = ComponentRegistration(component_id=service.name, endpoint=service.url)
    await plane.registry.register(registration, supervised=True)
    await plane.registry.make_ready(service.name, registration.instance_uuid)


async def reaches(plane: InMemoryControlPlane, component_id: str, generation: int = 1) -> ComponentRecord:
    async with asyncio.timeout(PATIENCE):
        record = await plane.registry.wait_until(
            component_id,
            lambda record: (
                record is not None and record.state is ComponentState.READY and record.generation == generation
            ),
        )
    assert record is not None
    return record


@needs_node
async def test_ergon_finds_the_others_through_tekton(system: System) -> None:
    hermes, engram, rhetor = [await asyncio.to_thread(system.start, name) for name in ("hermes", "engram", "rhetor")]
    async with InMemoryControlPlane() as plane:
        for service in (hermes, rhetor):
            await register(plane, service)
        system.environment["TEKTON_URL"] = plane.address.url
        ergon = await asyncio.to_thread(system.start, "ergon")
        await reaches(plane, "ergon")
        note = {"key": "notes.a", "value": "Tests are short. Birds sing."}
        await asyncio.to_thread(engram.call, "POST", "/api/memory/store", note)

        job = await asyncio.to_thread(ergon.call, "POST", "/api/jobs", {"kind": "digest", "sentences": 1})
        news = await asyncio.to_thread(hermes.call, "GET", "/api/topics/digests/messages")
        await plane.registry.deregister("rhetor", plane.record("rhetor").instance_uuid)
        status, _ = await asyncio.to_thread(ergon.send, "POST", "/api/jobs", {"kind": "riff"})
        jobs = await asyncio.to_thread(ergon.call, "GET", "/api/jobs")

        assert job["state"] == "done"
        assert news["messages"][0]["content"] == {"prefix": "notes.", "text": job["result"]}
        assert status == 503
        assert [job["state"] for job in jobs["jobs"]] == ["done", "failed"]
        assert await asyncio.to_thread(ergon.end) == 0
        assert plane.record("ergon").state is ComponentState.STOPPED


@needs_curl
async def test_telos_takes_part_with_nothing_but_curl(system: System) -> None:
    async with InMemoryControlPlane(interval=0.1) as plane:
        system.environment |= {"TEKTON_URL": plane.address.url, "TEKTON_COMPONENT_ID": "telos"}
        telos = await asyncio.to_thread(system.start, "telos")

        record = await reaches(plane, "telos")
        await plane.registry.deregister("telos", record.instance_uuid)
        again = await reaches(plane, "telos")
        async with asyncio.timeout(PATIENCE):
            while not plane.monitor.metrics("telos"):  # noqa: ASYNC110 (nothing tells when it changes)
                await asyncio.sleep(0.01)

        assert record.endpoint == telos.url
        assert again.instance_uuid != record.instance_uuid
        assert plane.monitor.metrics("telos") == {"open_requirements": 2.0}


@needs_curl
def test_telos_serves_its_list_and_takes_its_server_with_it(system: System, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text('# ours\nREQ-1  done  It says "hello".\n\nREQ-2  open  It \\ survives.\n')
    system.environment["TELOS_FILE"] = str(requirements)
    telos = system.start("telos")

    listed = telos.call("GET", "/requirements.json")
    children = psutil.Process(telos.process.pid).children(recursive=True)
    code = telos.end()

    assert listed == {
        "requirements": [
            {"id": "REQ-1", "state": "done", "text": 'It says "hello".'},
            {"id": "REQ-2", "state": "open", "text": "It \\ survives."},
        ],
        "open": 1,
        "done": 1,
    }
    assert code == 0
    assert children
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []
