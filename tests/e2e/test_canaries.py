"""Secrets that are planted in a running system come out nowhere but where they belong.

Everything that can be asked is asked: every route that the API describes, every verb that shows something, every file
in the data directory, the command lines of all processes. A route or a verb that comes later is covered by itself.
"""

import http.client
import json
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

PLANTED = {
    "jwt_secret": "canary-7701-jwt-secret-with-enough-bytes-in-it",
    "env": "canary-7702-env",
    "env_file": "canary-7703-env-file",
    "environment of tekton": "canary-7704-environment",
    "password in a URL": "canary-7705-url-password",
    "option": "canary-7706-option",
    "wrong credential": "canary-7708-wrong-credential-of-somebody-else",
    "query": "canary-7709-query",
    "body": "canary-7710-body",
    "environment of run": "canary-7712-environment-of-run",
}
"""What was planted, by where."""

VERBS = (
    *("ps -o json", "why crashes", "why crashes -o json", "events -o jsonl", "config show -o json", "doctor"),
    *("logs tekton", "auth keys", "audit", "export report.tar.gz"),
)

PRIVATE = ("run", "keys")
"""Directories that hold secrets, and that only their owner may enter."""


@pytest.fixture
def canaries(request: Any, tekton: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running system full of secrets, which has seen some use."""
    monkeypatch.setenv("DB_PASSWORD", PLANTED["environment of tekton"])
    tekton.configure(_components())
    main = tekton.directory / "tekton.json"
    document = json.loads(main.read_text())
    if request.param == "secret":
        document["tekton"]["security"] = {"jwt_secret": PLANTED["jwt_secret"]}
    main.write_text(json.dumps(document))
    main.chmod(0o600)
    (tekton.directory / ".env").write_text(f"OTHER_TOKEN={PLANTED['env_file']}\n")
    tekton.up()
    tekton.until("web")
    tekton.until("crashes", "failed")
    return tekton


def _components() -> dict[str, Any]:
    speaks = 'echo "connecting with $API_KEY to $DATABASE"; echo "password=$API_KEY token: $OTHER_TOKEN" >&2'
    env = {"API_KEY": PLANTED["env"], "DATABASE": f"postgres://me:{PLANTED['password in a URL']}@db/x"}
    quiet = {"command": ["/bin/sleep", "600"], "env": env, "env_file": ".env"}
    return {
        # What a component shows of itself in a list of processes is its own business: so this one does not run.
        "crashes": {
            **quiet,
            "command": ["/bin/sh", "-c", f"{speaks}; exit 3", "--token", PLANTED["option"]],
            "restart": {"policy": "no"},
        },
        "web": quiet,
    }


def _use(tekton: Any) -> dict[str, str]:
    """Have secrets made and misused; those that are secret from now on, by what they are."""
    secrets = _handed_out(tekton)
    credential = secrets["credential of the owner"]
    answers = [
        tekton.request("POST", "/api/components", {"component_id": "guest"}),
        tekton.request("POST", "/api/components", {"component_id": "x", "password": PLANTED["body"]}),
        tekton.request("GET", f"/api/components?token={PLANTED['query']}"),
        tekton.request("GET", f"/api/nothing?api_key={PLANTED['query']}"),
        *(_ask(tekton, "/api/audit", f"Bearer {text}") for text in (PLANTED["wrong credential"], f"{credential}x")),
        _ask(tekton, "/api/components", f"Basic {PLANTED['wrong credential']}"),
        *(_ask(tekton, "/api/system", f"Bearer {text}") for text in secrets.values()),
    ]
    with_secret = {"PGPASSWORD": PLANTED["environment of run"]}
    pairs = [f"{name}={value}" for name, value in with_secret.items()]
    ran = tekton.run(
        "run", "-d", "--name", "job", *(part for pair in pairs for part in ("-e", pair)), "/bin/sleep", "600"
    )
    assert ran.returncode == 0, ran.stderr
    secrets |= PLANTED
    assert _leaks(((f"answer {number}", str(answer)) for number, answer in enumerate(answers)), secrets) == []
    return secrets


def _handed_out(tekton: Any) -> dict[str, str]:
    """The secrets that Tekton itself has made."""
    run = tekton.data_dir / "run"
    found = {"credential of the owner": (run / "credential").read_text().strip()}
    for file in (run / "credentials").glob("*"):
        found[f"credential of {file.name}"] = file.read_text().strip()
    for name in ("signing", "cards"):
        if (keys := tekton.data_dir / "keys" / f"{name}.json").exists():
            for number, key in enumerate(json.loads(keys.read_text())["keys"]):
                found[f"{name} key {number}"] = key["private"]
    for name, path, body in (
        ("token", "/api/auth/token", {"subject": "owner"}),
        ("key", "/api/keys", {"label": "canary"}),
    ):
        status, answer = tekton.request("POST", path, body)
        assert status in (200, 201), answer
        found[f"{name} that was given out"] = answer[name]
    return found


def _ask(tekton: Any, path: str, authorization: str | None) -> tuple[int, bytes]:
    """A request to the port, as anybody could make it."""
    connection = http.client.HTTPConnection("127.0.0.1", tekton.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _answers(tekton: Any, authorization: str | None) -> Iterator[tuple[str, str]]:
    """What every route says that can be read at once."""
    document = tekton.get("/openapi.json")
    yield "/openapi.json", json.dumps(document)
    for path, methods in document["paths"].items():
        if "get" not in methods or path.startswith("/events"):
            continue
        for component in ("web", "crashes", "job") if "{" in path else ("",):
            filled = re.sub(r"\{[a-z_]+\}", component, path)
            # What a component prints is shown to its owner as it was printed.
            if not filled.endswith("/logs"):
                yield f"GET {filled}", _ask(tekton, filled, authorization)[1].decode()


def _shown(tekton: Any, verbs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for verb in verbs:
        done = tekton.run(*verb.split())
        yield f"tekton {verb}", done.stdout + done.stderr
    with tarfile.open(tekton.directory / "report.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            yield f"the bundle's {member.name}", "" if file is None else file.read().decode()


def _files(data_dir: Path) -> Iterator[tuple[str, str]]:
    """All files but the private ones, and what components have printed."""
    for path in sorted(data_dir.rglob("*")):
        name = path.relative_to(data_dir)
        if path.is_file() and name.parts[0] not in PRIVATE and str(name) not in ("logs/crashes.log", "logs/web.log"):
            yield str(name), path.read_bytes().decode("latin-1")


def _command_lines(tekton: Any) -> Iterator[tuple[str, str]]:
    for process in tekton.processes():
        try:
            yield f"process {process.pid}", " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue


def _leaks(outputs: Iterator[tuple[str, str]], secrets: dict[str, str]) -> list[str]:
    return [f"{place}: {name}" for place, text in outputs for name, secret in secrets.items() if secret in text]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("canaries", "verbs"), [("secret", VERBS), ("key pair", ("export report.tar.gz",))], indirect=["canaries"]
)
def test_planted_secrets_come_out_nowhere(canaries: Any, verbs: tuple[str, ...]) -> None:
    secrets = _use(canaries)
    owner = f"Bearer {secrets['credential of the owner']}"

    leaks = [
        *_leaks(_answers(canaries, owner), secrets),
        *_leaks(_answers(canaries, None), secrets),
        *_leaks(_shown(canaries, verbs), secrets),
        *_leaks(_command_lines(canaries), secrets),
        *_leaks(_files(canaries.data_dir), secrets),
    ]
    open_to_others = [
        str(path)
        for name in PRIVATE
        if (path := canaries.data_dir / name).exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    why = canaries.get("/api/components/crashes/why")
    canaries.process.terminate()
    said, _ = canaries.process.communicate(timeout=20)

    assert leaks == []
    # They were there to be found.
    assert PLANTED["env"] in (canaries.data_dir / "logs" / "crashes.log").read_text()
    assert "[redacted]" in why["evidence"][-1]
    assert _leaks(iter([("tekton up", said)]), secrets) == []
    assert open_to_others == []
