"""The control plane against its own OpenAPI document: what is sent is made from it, and what comes back is held to it.

Schemathesis makes requests, right and wrong ones, and checks of each answer that it is no server error, that status,
media type, headers and body are those of the document, that wrong data is refused, that a credential is really needed
where one is declared, and that other methods get 405. It runs in a process of its own, so that its warnings are not
ours, with a fixed seed. What it is told beside the document is in `schema_hooks.py`.

TEKTON_SCHEMATHESIS_SECONDS is how long it goes on making up requests.
"""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SECONDS = int(os.environ.get("TEKTON_SCHEMATHESIS_SECONDS", "20"))
HOOKS = Path(__file__).with_name("schema_hooks.py")

Json = dict[str, Any]

NOT_TRIED = {
    "GET /events/components": "a stream: it does not end",
    "GET /events/auth": "a stream: it does not end",
    "GET /events": "a stream: it does not end",
    "GET /events/{a}": "a stream: it does not end",
    "GET /events/{a}/{b}": "a stream: it does not end",
    "GET /events/{a}/{b}/{c}": "a stream: it does not end",
    "POST /api/system/stop": "there would be nothing left to ask; it is tried when all others have been",
}
"""Operations that schemathesis leaves alone, and why."""

NOT_CHECKED = {
    "positive_data_acceptance": "the document cannot say which components, keys and instances there are",
}
"""Checks that are not made, and why."""

CONFIG = f"""
hooks = {json.dumps(str(HOOKS))}
seed = 1
request-timeout = 30

[generation]
database = "none"
no-shrink = true

[checks.not_a_server_error]
# 503 and 504 are answers of the document: what is refused for now, and a start that took too long.
expected-statuses = ["2xx", "3xx", "4xx", 503, 504]

[checks.negative_data_rejection]
# Its own, and 413 and 414: what is too long can make the whole body or target too long, which is found first.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, "5xx"]
"""


class Run(NamedTuple):
    """One run of schemathesis: its exit code, what it has to say, and the statuses that each operation gave."""

    code: int
    output: str
    answers: dict[str, dict[str, int]]


class Site:
    """A control plane in which there is something of everything."""

    def __init__(self, tekton: Any) -> None:
        self.tekton = tekton
        self.document: Json = tekton.get("/openapi.json")

    @property
    def operations(self) -> set[str]:
        """`GET /api/health`, and so on."""
        return {f"{method.upper()} {path}" for path, item in self.document["paths"].items() for method in item}

    def credential(self, role: str) -> str | None:
        """A credential with that role; None for nobody."""
        if role == "nobody":
            return None
        if role == "owner":
            return str((self.tekton.data_dir / "run" / "credential").read_text())
        if role == "component":
            return str((self.tekton.data_dir / "run" / "credentials" / "web").read_text())
        status, made = self.tekton.request("POST", "/api/auth/token", {"subject": f"a-{role}", "roles": [role]})
        assert status == 201, made
        return str(made["token"])

    def run(self, directory: Path, role: str, *arguments: str, checks_not_made: Sequence[str] = ()) -> Run:
        """Run schemathesis with the credential of *role*."""
        (directory / "openapi.json").write_text(json.dumps(self.document))
        (directory / "schemathesis.toml").write_text(CONFIG)
        credential = self.credential(role)
        shown = [] if credential is None else ["--header", f"Authorization: Bearer {credential}"]
        left_alone = [part for name in NOT_TRIED for part in ("--exclude-name", name)]
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]
        options = [
            "--url",
            f"http://127.0.0.1:{self.tekton.port}",
            "--exclude-checks",
            ",".join([*NOT_CHECKED, *checks_not_made]),
        ]
        result = subprocess.run(
            [
                *command,
                "openapi.json",
                *options,
                "--continue-on-failure",
                "--no-color",
                *shown,
                *left_alone,
                *arguments,
            ],
            cwd=directory,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "TEKTON_SCHEMA_ANSWERS": str(directory / "answers.json")},
            capture_output=True,
            text=True,
            timeout=SECONDS + 240,
            check=False,
        )
        answers = directory / "answers.json"
        told = json.loads(answers.read_text()) if answers.exists() else {}
        return Run(result.returncode, result.stdout + result.stderr, told)

    def ask(self, method: str, path: str, *, credential: str | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.tekton.port, timeout=20)
        try:
            shown = {} if credential is None else {"authorization": f"Bearer {credential}"}
            connection.request(method, path, None, shown | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


@pytest.fixture(scope="module")
def site(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tekton = start_tekton(tmp_path_factory.mktemp("schema"))
    tekton.configure(
        {
            "web": {"command": ["sleep", "100000"], "stop_timeout": 1},
            "worker": {"command": ["sleep", "100000"], "stop_timeout": 1, "dependencies": ["web"]},
        }
    )
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = {"enable_auth": True}
    file.write_text(json.dumps(settings))
    try:
        tekton.up()
        tekton.until("web")
        tekton.until("worker")
        registration = {"component_id": "guest", "capabilities": ["talk"], "metadata": {"of": "nobody"}}
        assert tekton.request("POST", "/api/components", registration)[0] == 201
        assert tekton.request("POST", "/api/keys", {"subject": "guest", "roles": ["component"]})[0] == 201
        yield Site(tekton)
    finally:
        tekton.kill()


def test_what_is_left_alone_exists(site: Site) -> None:
    assert set(NOT_TRIED) <= site.operations


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["nobody", "component", "monitor", "operator"])
def test_whoever_asks_gets_answers_that_are_in_the_document(site: Site, tmp_path: Path, role: str) -> None:
    # That a credential is needed cannot be seen where none is shown, and is tried for all routes below.
    few = ("--phases", "fuzzing", "--max-examples", "2")
    run = site.run(tmp_path, role, *few, checks_not_made=["ignored_auth"])

    assert run.code == 0, run.output
    assert set(run.answers) == site.operations - set(NOT_TRIED)


@pytest.mark.timeout(SECONDS + 300)
def test_right_and_wrong_requests_get_answers_that_are_in_the_document(site: Site, tmp_path: Path) -> None:
    run = site.run(tmp_path, "owner", "--phases", "coverage,fuzzing", "--max-time", str(SECONDS))

    assert run.code == 0, run.output
    assert run.answers


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (400, "GET", "/api/components/web%00", {}),
        (421, "GET", "/api/components", {"host": "evil.example"}),
        (403, "POST", "/api/components", {"origin": "https://evil.example"}),
        (431, "GET", "/api/components", {f"x-{number}": "y" for number in range(70)}),
        (414, "GET", f"/api/components?cursor={'x' * 9000}", {}),
        (413, "POST", "/api/components", {"content-type": "application/json", "content-length": "1000000"}),
        (415, "POST", "/api/components", {"content-type": "text/plain", "content-length": "2"}),
        (422, "GET", "/api/components?capability=x&capability=y", {}),
        (422, "GET", "/api/health?x=1", {}),
    ],
)
def test_what_is_wrong_with_the_frame_of_a_request_is_in_the_document(
    site: Site, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    plain = path.partition("?")[0].replace("web%00", "{component_id}")
    declared = site.document["paths"][plain][method.lower()]["responses"]

    found, problem = site.ask(method, path, credential=site.credential("owner"), **headers)

    assert found == status
    assert str(status) in declared
    shape = site.document["components"]["schemas"]["Problem"]
    assert set(shape["required"]) <= set(problem)


def test_a_credential_that_is_declared_is_needed(site: Site) -> None:
    """Schemathesis tries this as well; here it is for all operations, and for those that it leaves alone."""
    for path, item in site.document["paths"].items():
        for method, operation in item.items():
            needed = operation["security"] == [{"bearer": []}]
            named = re.sub(r"\{[a-z_]+\}", "x", path.replace("{component_id}", "web").replace("{capability}", "talk"))
            named += "?action=read_metrics" if path.endswith("/can-i") else ""
            status, _ = site.ask(method.upper(), named)
            wrong, _ = site.ask(method.upper(), named, credential="wrong")
            assert (status == 401) is needed, (method, path, status)
            assert wrong == 401 or operation["security"] == [], (method, path, wrong)


def test_the_stop_route_answers_as_the_document_says_and_is_the_last(site: Site) -> None:
    stop = "/api/system/stop"
    declared = site.document["paths"][stop]["post"]["responses"]

    refused = [site.ask("POST", stop, credential=site.credential(role))[0] for role in ("nobody", "monitor")]
    assert refused == [401, 403]
    status, answer = site.ask("POST", stop, credential=site.credential("owner"))

    assert (status, answer) == (202, {"operation": "stop"})
    assert {"202", "401", "403"} <= set(declared)
    # Reads what it says, too: after minutes of requests that fills its pipe, and it would wait for ever.
    site.tekton.process.communicate(timeout=20)
