"""The HTTP client of the command line."""

import fcntl
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tekton.cli.app import cli
from tekton.cli.client import Client, UnixConnection, component_path, connect
from tekton.cli.instance import Instance
from tekton.cli.options import Target
from tekton.cli.problems import NotInTimeError
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    ConfigurationError,
    ProblemError,
    StartTimeoutError,
    TektonError,
    TransportError,
)


@pytest.fixture
def client(plane: Any, data_dir: Path) -> Client:
    return connect(Target(data_dir))


@pytest.fixture
def tcp(double: Any) -> Iterator[Any]:
    """A control plane on a port, with its address in `url`."""
    plane = double.ControlPlane()
    double.serve(plane, ("127.0.0.1", 0))
    plane.url = f"http://127.0.0.1:{plane.server.server_address[1]}"
    yield plane
    plane.leave()


def announce(data_dir: Path, url: str, credential: str = "secret") -> None:
    (data_dir / "run" / "control.json").write_text(json.dumps({"pid": 1, "url": url}))
    (data_dir / "run" / "credential").write_text(credential + "\n")


def test_the_socket_in_the_data_directory_comes_first_and_needs_no_credential(
    client: Client, plane: Any, data_dir: Path
) -> None:
    announce(data_dir, "http://127.0.0.1:1")

    assert client.get("/api/health") == {"status": "ok"}
    assert plane.authorizations == [None]


def test_without_a_socket_the_announced_address_gets_the_credential(tcp: Any, data_dir: Path) -> None:
    announce(data_dir, tcp.url)

    assert connect(Target(data_dir)).get("/api/health") == {"status": "ok"}
    assert tcp.authorizations == ["Bearer secret"]


def test_an_address_that_nobody_announced_is_not_tried(tcp: Any, data_dir: Path, tmp_path: Path) -> None:
    """Somebody else's control plane may listen on the configured port."""
    settings = {"port": int(tcp.url.rpartition(":")[2]), "data_dir": str(data_dir)}
    (tmp_path / "tekton.json").write_text(json.dumps({"tekton": settings}))

    with pytest.raises(TransportError, match="no control plane runs in this data directory"):
        connect(Target())
    assert tcp.requests == []


def test_a_url_gets_the_credential_only_of_a_data_directory_that_is_named(tcp: Any, data_dir: Path) -> None:
    announce(data_dir, "http://127.0.0.1:1")

    connect(Target(url=tcp.url)).get("/api/health")
    connect(Target(data_dir, tcp.url)).get("/api/health")

    assert tcp.authorizations == [None, "Bearer secret"]


def test_a_url_may_have_a_path(tcp: Any) -> None:
    with pytest.raises(ProblemError):
        connect(Target(url=f"{tcp.url}/behind/a/proxy/")).get("/api/health")

    assert tcp.requests == [("GET", "/behind/a/proxy/api/health")]


@pytest.mark.parametrize("url", ["localhost:8010", "ftp://localhost", "http://", "http://localhost:port"])
def test_a_url_that_is_none_is_a_mistake_in_the_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        connect(Target(url=url))


def test_the_address_in_the_environment_comes_before_the_socket_and_after_the_command_line(
    tekton: Any, tcp: Any, plane: Any, double: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plane.components, tcp.components = [double.view("here")], [double.view("there")]
    (tmp_path / "tekton.json").write_text('{"tekton": {"data_dir": "data"}}')

    def names(*arguments: str) -> str:
        return CliRunner().invoke(cli, [*arguments, "ps", "-o", "name"], prog_name="tekton").stdout.strip()

    assert names() == "here"
    monkeypatch.setenv("TEKTON_URL", tcp.url)
    assert names() == "there"
    assert names("--data-dir", str(data_dir)) == "here"
    assert names("--config", str(tmp_path)) == "here"
    monkeypatch.setenv("TEKTON_URL", "http://127.0.0.1:1")
    assert names("--url", tcp.url) == "there"


def test_the_address_in_the_environment_gets_the_credential_in_the_environment(
    tcp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credential").write_text("mine\n")
    monkeypatch.setenv("TEKTON_URL", tcp.url)
    monkeypatch.setenv("TEKTON_CREDENTIAL_FILE", str(tmp_path / "credential"))

    CliRunner().invoke(cli, ["ps"], prog_name="tekton")
    CliRunner().invoke(cli, ["ps", "--url", tcp.url], prog_name="tekton")

    assert tcp.authorizations == ["Bearer mine", None]


def test_the_local_network_is_asked_last_and_only_where_that_is_wanted(
    tcp: Any, double: Any, plane: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def browse() -> str:
        return str(tcp.url)

    monkeypatch.setattr("tekton.utils.mdns.browse", browse)
    tcp.components, plane.components = [double.view("there")], [double.view("here")]

    def ps(data_dir: str, *, mdns: bool) -> Any:
        (tmp_path / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": data_dir, "mdns": mdns}}))
        return CliRunner().invoke(cli, ["ps", "-o", "name"], prog_name="tekton")

    assert ps("data", mdns=True).stdout == "here\n"
    assert ps("empty", mdns=False).exit_code == 3
    assert ps("empty", mdns=True).stdout == "there\n"
    assert f"{tcp.url} was found on the local network" in ps("empty", mdns=True).stderr
    assert set(tcp.authorizations) == {None}


def test_the_address_in_the_environment_does_not_concern_what_works_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEKTON_URL", "http://127.0.0.1:1")

    assert CliRunner().invoke(cli, ["config", "check"], prog_name="tekton").exit_code == 0
    refused = CliRunner().invoke(cli, ["config", "check", "--url", "http://127.0.0.1:1"], prog_name="tekton")
    assert refused.exit_code == 2
    assert "config check works on a data directory of this machine" in refused.stderr


@pytest.mark.usefixtures("plane")
def test_a_wrong_configuration_does_not_keep_anybody_from_a_data_directory_that_is_named(
    tekton: Any, tmp_path: Path
) -> None:
    (tmp_path / "tekton.json").write_text('{"tekton": {"dta_dir": "data"}}')

    result = CliRunner().invoke(cli, ["down"], prog_name="tekton")

    assert result.exit_code == 8
    assert result.stderr.endswith("nothing was done\nhelp: with --data-dir DIR the configuration is not needed\n")
    assert tekton("ps").exit_code == 0


@pytest.fixture
def left_behind(data_dir: Path) -> None:
    """A socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(data_dir / "run" / "control.sock"))


@pytest.mark.usefixtures("left_behind")
def test_a_socket_that_nobody_listens_on_in_a_directory_without_an_owner_says_that_nothing_runs(data_dir: Path) -> None:
    with pytest.raises(TransportError, match="no control plane runs in this data directory") as raised:
        connect(Target(data_dir)).get("/api/health")
    assert raised.value.hint == "tekton up"


@pytest.mark.usefixtures("left_behind")
def test_while_a_guard_starts_the_control_plane_again_nobody_is_told_to_start_another(data_dir: Path) -> None:
    with (data_dir / "run" / "guard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TransportError) as raised:
            connect(Target(data_dir)).get("/api/health")

    assert "does not answer (Connection refused)" in str(raised.value)
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("it is being started, or started again: try again in a moment")


def test_a_control_plane_that_is_started_again_is_waited_for(plane: Any, data_dir: Path) -> None:
    """What was sent within the second after a crash was not sent."""
    tried: list[float | None] = []

    def open_(timeout: float | None) -> UnixConnection:
        tried.append(timeout)
        path = data_dir / "run" / ("control.sock" if len(tried) > 3 else "nothing.sock")
        return UnixConnection(str(path), timeout)

    with (data_dir / "run" / "guard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = Client(open_, "there", instance=Instance(data_dir))
        client.await_restart(60.0)

    assert len(tried) == 4
    assert plane.requests == []
    assert client.get("/api/health") == {"status": "ok"}


@pytest.mark.usefixtures("left_behind")
def test_what_nobody_starts_is_not_waited_for(data_dir: Path) -> None:
    client = connect(Target(data_dir))
    client.await_restart(60.0)

    with pytest.raises(TransportError, match="no control plane runs"):
        client.get("/api/health")


def test_a_refusal_is_the_error_that_the_control_plane_raised(client: Client, plane: Any, double: Any) -> None:
    plane.answers["GET /api/system"] = double.problem(
        404, "component_not_found", "no component 'hermse'", component_id="hermse", nearest="hermes"
    )
    plane.answers["POST /api/x"] = double.problem(
        504, "start_timeout", "hermes: not ready after 5 s", component_id="hermes", timeout=5.0
    )

    with pytest.raises(ComponentNotFoundError) as missing:
        client.get("/api/system")
    assert missing.value.hint == "did you mean 'hermes'?"
    with pytest.raises(StartTimeoutError):
        client.post("/api/x")


def test_a_refusal_without_a_class_keeps_its_code(client: Client, plane: Any, double: Any) -> None:
    plane.answers["GET /api/system"] = double.problem(429, "too_many", "slow down", hint="later")

    with pytest.raises(ProblemError) as raised:
        client.get("/api/system")
    assert (raised.value.code, str(raised.value), raised.value.hint) == ("too_many", "slow down", "later")


def test_a_name_from_the_command_line_stays_one_segment_of_the_path(tekton: Any, plane: Any) -> None:
    tekton("why", "../../admin?x=1")

    assert plane.requests == [("GET", "/api/components/..%2F..%2Fadmin%3Fx%3D1/why")]


class Raw(http.server.BaseHTTPRequestHandler):
    """Answers every request with the bytes of the server, whatever they are."""

    def do_GET(self) -> None:
        self.wfile.write(self.server.answer)  # type: ignore[attr-defined]
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_something_else_on_the_port_is_unreachable_not_a_traceback(answer: bytes) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Raw) as server:
        server.answer = answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with pytest.raises(TransportError):
            connect(Target(url=f"http://127.0.0.1:{server.server_address[1]}")).get("/api/health")
        server.shutdown()


def test_who_refuses_a_body_without_reading_all_of_it_is_heard(tmp_path: Path) -> None:
    problem = b'{"code": "too_large", "status": 413, "detail": "more than 5 bytes", "limit": 5}'
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n%b" % (len(problem), problem)
    path = str(tmp_path / "socket")

    def refuse() -> None:
        with listening.accept()[0] as connection:
            connection.recv(10)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        server = threading.Thread(target=refuse)
        server.start()
        client = Client(lambda timeout: UnixConnection(path, timeout), path)
        with pytest.raises(TektonError, match="more than 5 bytes"):
            client.post("/api/messages", body={"content": "x" * 4_000_000})
        server.join()


def test_a_request_that_takes_too_long_is_given_up(client: Client, plane: Any) -> None:
    plane.delay = 5.0

    with pytest.raises(NotInTimeError):
        client.post("/api/system/stop", timeout=0.05)


def test_a_stream_ends_at_its_deadline_though_the_server_still_talks(data_dir: Path) -> None:
    """Keep-alive comments make no progress: they must not move the deadline."""
    path = str(data_dir / "run" / "talks.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b": ping\n\n")
                        threading.Event().wait(0.01)
                except OSError:
                    return

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        client = Client(lambda timeout: UnixConnection(path, timeout), path)
        with pytest.raises(NotInTimeError):
            list(client.stream("/events/components", deadline=SYSTEM_CLOCK.monotonic() + 0.1))
        talker.join(timeout=5)


def test_a_name_that_is_no_text_has_a_path_too() -> None:
    assert component_path("a\udc9b/..", "why") == "/api/components/a%9B%2F../why"


def test_a_plain_read_that_hangs_is_told_of_and_ends_with_the_way_out(
    tekton: Any, plane: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.cli.client._TELL_AFTER", 0.05)
    monkeypatch.setattr("tekton.cli.client.READ_TIMEOUT", 0.2)
    monkeypatch.setitem(Client.get.__kwdefaults__, "timeout", 0.2)
    (data_dir / "run" / "guard.json").write_text('{"pid": 4712}')
    plane.delay = 20.0
    with (data_dir / "run" / "guard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        result = tekton("ps")

    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "the control plane does not answer yet; giving up after 0.2 s",
        f"error[timed_out]: {data_dir}/run/control.sock: gave up after 0.2 s (waiting for an answer)",
        f"help: tekton down --data-dir {data_dir} ends it, by way of its guard (process 4712)",
    ]
