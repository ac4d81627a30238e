"""What lies where a log should, and paths that lead elsewhere: a running system and the command line beside it."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STRANGER = 54321


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane for all tests of this file."""
    tekton = start_tekton(tmp_path_factory.mktemp("files"))
    tekton.configure({"worker": {"command": ["/bin/sh", "-c", "echo up; exec sleep 1000"]}})
    (tekton.directory / "precious.log").write_text("root:precious\n")
    try:
        tekton.up()
        tekton.until("worker")
        yield tekton
    finally:
        tekton.kill()


def _raw(system: Any, target: str) -> tuple[int, bytes]:
    """A GET request with this very target, as the owner."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
    credential = (system.data_dir / "run" / "credential").read_text().strip()
    try:
        connection.putrequest("GET", target, skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {credential}")
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "component",
    [
        *("..", "../../etc/passwd", "..%2f..%2fprecious", "%2e%2e%2f%2e%2e%2fprecious", "..%252f..%252fprecious"),
        *("....//....//precious", "..%5c..%5cprecious", "..\\precious", "~", "~root", "%2fetc%2fpasswd", "/etc/passwd"),
        *(
            "worker%2f..%2f..%2fprecious",
            "worker/../../precious",
            "precious%00",
            "worker.log",
            "worker%00.log",
            "tekton",
        ),
        *("%c0%ae%c0%ae%2fprecious", "worker;precious", "worker%0a", "."),
    ],
)
def test_no_path_leads_out_of_the_logs(system: Any, component: str) -> None:
    status, body = _raw(system, f"/api/components/{component}/logs")

    assert status in (400, 404, 422)
    assert b"precious\\n" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("replica", ["-1", "1", "0/../../precious", "1e0", "../0", "99999999999999999999"])
def test_no_number_of_a_replica_does_either(system: Any, replica: str) -> None:
    assert _raw(system, f"/api/components/worker/logs?replica={replica}")[0] in (400, 404, 422)


def _as_link_of_a_stranger(log: Path, precious: Path) -> None:
    log.symlink_to(precious)
    os.chown(log, STRANGER, STRANGER, follow_symlinks=False)


def _as_pipe(log: Path, _precious: Path) -> None:
    os.mkfifo(log)


def _as_device(log: Path, _precious: Path) -> None:
    log.symlink_to("/dev/zero")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", [_as_link_of_a_stranger, _as_pipe, _as_device])
def test_what_is_no_log_is_not_read(system: Any, place: Callable[[Path, Path], None]) -> None:
    log = system.data_dir / "logs" / "worker.log"
    kept = log.with_name("kept")
    log.rename(kept)
    place(log, system.directory / "precious.log")
    try:
        status, body = system.request("GET", "/api/components/worker/logs")
        following, refused = system.request("GET", "/api/components/worker/logs?follow=1")
        why = system.get("/api/components/worker/why")
        shown = system.run("logs", "worker")
    finally:
        log.unlink()
        kept.rename(log)

    assert (status, body["code"]) == (following, refused["code"])
    assert status != 200
    assert "its log cannot be read" in body["detail"]
    assert why["evidence"] == []
    assert shown.returncode == 1
    assert "precious" not in json.dumps(body) + shown.stdout + shown.stderr
