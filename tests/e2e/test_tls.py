"""A control plane that speaks TLS: where that is seen, how the certificate is renewed, what is refused at the start."""

import http.client
import json
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any


def secure(tekton: Any, **security: str) -> None:
    """Write the configuration, with these settings of `tekton.security`."""
    web = {"command": ["sh", "-c", "echo $$TEKTON_URL; exec sleep 1000"], "ready": {"log": "http"}}
    tekton.configure({"web": web})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = security
    file.write_text(json.dumps(settings))


def get(tekton: Any, *trusted: Path) -> tuple[int, str]:
    """The status of health, and the name in the certificate."""
    context = ssl.create_default_context()
    for path in trusted:
        context.load_verify_locations(path)
    connection = http.client.HTTPSConnection("127.0.0.1", tekton.port, timeout=20, context=context)
    try:
        connection.request("GET", "/api/health")
        subject = connection.sock.getpeercert()["subject"]
        return connection.getresponse().status, subject[0][0][1]
    finally:
        connection.close()


def test_it_is_served_found_and_renewed(tekton: Any, certificate: Any, eventually: Callable[..., Any]) -> None:
    one, two = certificate(tekton.directory, "one"), certificate(tekton.directory, "two")
    secure(tekton, tls_cert="one.crt", tls_key="one.key")
    tekton.up()

    url = f"https://127.0.0.1:{tekton.port}"
    assert get(tekton, one.cert) == (200, "one")
    assert json.loads((tekton.data_dir / "run" / "control.json").read_text())["url"] == url
    tekton.until("web")
    assert tekton.get("/api/components/web/logs")["lines"] == [url]
    assert tekton.run("ps").returncode == 0
    remote = tekton.run("--help"), tekton.run("ps", "--url", url, env={"SSL_CERT_FILE": str(one.cert)})
    assert [each.returncode for each in remote] == [0, 0], remote[1].stderr
    assert tekton.run("ps", "--url", url).returncode != 0

    for old, new in zip(one, two, strict=True):
        os.replace(new, old)
    os.kill(tekton.control_pid, signal.SIGHUP)

    def renewed() -> bool:
        try:
            return get(tekton, one.cert) == (200, "two")
        except ssl.SSLError:
            return False

    eventually(renewed, "the new certificate is shown")
    one.key.write_text("nonsense")
    assert tekton.run("reload").returncode == 0
    log = tekton.data_dir / "logs" / "tekton.log"
    eventually(lambda: "the certificate was not read anew" in log.read_text(), "the mistake is logged")
    assert get(tekton, one.cert) == (200, "two")
    assert tekton.stop() == 0


def test_what_is_wrong_with_the_files_is_said_before_anything_starts(tekton: Any, certificate: Any) -> None:
    one = certificate(tekton.directory, "one")
    old = certificate(tekton.directory, "old", days=(-3, -1))
    one.key.chmod(0o644)

    for security, problem in (
        ({"tls_cert": "one.crt"}, "tls_cert: {}/one.crt is of no use without tls_key"),
        ({"tls_key": "one.key"}, "tls_key: {}/one.key is of no use without tls_cert"),
        ({"tls_cert": "no.crt", "tls_key": "one.key"}, "tls_cert: {}/no.crt cannot be read: No such file or directory"),
        ({"tls_cert": "one.crt", "tls_key": "old.key"}, "tls_key: {}/old.key is not the key of {}/one.crt"),
        ({"tls_cert": "one.crt", "tls_key": "one.key"}, "tls_key: {}/one.key can be read by every user"),
        ({"tls_cert": "old.crt", "tls_key": "old.key"}, "tls_cert: {}/old.crt expired on"),
    ):
        secure(tekton, **security)
        checked = tekton.run("config", "check")
        assert checked.returncode == 8
        assert problem.replace("{}", str(tekton.directory)) in checked.stderr
    started = tekton.run("up")
    assert started.returncode == 8, started.stderr
    assert f"{old.cert} expired on" in started.stderr + started.stdout


def test_what_is_left_open_to_the_network_is_said(tekton: Any) -> None:
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"] |= {"host": "0.0.0.0", "security": {"enable_auth": False}}
    file.write_text(json.dumps(settings))

    checked = tekton.run("config", "check")

    assert checked.returncode == 0
    assert "tokens travel in clear: 0.0.0.0 can be reached from elsewhere" in checked.stderr
    assert "whoever reaches 0.0.0.0 may read and register components" in checked.stderr
    assert "warning" not in tekton.run("config", "check", "--data-dir", str(tekton.data_dir)).stdout
