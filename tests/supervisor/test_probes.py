"""Each probe against the real thing: a server, a log, a command."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tekton.supervisor import procfs
from tekton.supervisor.privileges import resolve_user
from tekton.supervisor.probes import ProbeTarget, make_probe
from tekton.utils.redaction import scrub
from tekton.utils.tekton_config import ProbeSpec

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handle: Handle, port: int = 0) -> AsyncIterator[int]:
    """A server on loopback; yields its port. At the end every connection has been closed."""
    open_connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_connections
        open_connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        open_connections -= 1

    listening = await asyncio.start_server(connected, "127.0.0.1", port)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        while open_connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Handle:
    """Answers the first request with the first of *answers*, and so on; the last one is repeated."""
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return handle


@pytest.fixture
def target(tmp_path: Path) -> Callable[..., ProbeTarget]:
    """A target that logs to `log` in the test's folder."""

    def make(port: int | None = None, **more: Any) -> ProbeTarget:
        return ProbeTarget(log=tmp_path / "log", port=port, cwd=str(tmp_path), **more)

    return make


Target = Callable[..., ProbeTarget]


class TestHttp:
    @pytest.mark.parametrize("status", [200, 204, 302, 399])
    async def test_2xx_and_3xx_are_ready(self, target: Target, status: int) -> None:
        async with server(answering(b"HTTP/1.1 %d Whatever\r\n\r\nbody" % status)) as port:
            assert await make_probe(ProbeSpec(http="/"), target(port)).check() is None

    @pytest.mark.parametrize("status", [101, 404, 503])
    async def test_other_answers_are_not_and_are_named(self, target: Target, status: int) -> None:
        async with server(answering(b"HTTP/1.1 %d X\r\n\r\n" % status)) as port:
            finding = await make_probe(ProbeSpec(http="/api/ready"), target(port)).check()
        assert finding == f"GET http://127.0.0.1:{port}/api/ready answered {status}"

    async def test_the_request_is_what_servers_expect(self, target: Target) -> None:
        requests: list[bytes] = []
        async with server(answering(b"HTTP/1.1 200 OK\r\n\r\n", requests=requests)) as port:
            await make_probe(ProbeSpec(http="/ready?deep=1"), target(port)).check()
        first, *headers = requests[0].decode().split("\r\n")
        assert first == "GET /ready?deep=1 HTTP/1.1"
        assert f"Host: 127.0.0.1:{port}" in headers
        assert "Connection: close" in headers

    async def test_a_whole_url_is_asked_as_it_is(self, target: Target) -> None:
        async with server(answering(b"HTTP/1.0 200 OK\r\n\r\n")) as port:
            assert await make_probe(ProbeSpec(http=f"http://localhost:{port}/x"), target()).check() is None

    async def test_nobody_listening_is_named(self, target: Target, free_port: int) -> None:
        finding = await make_probe(ProbeSpec(http="/"), target(free_port)).check()
        assert finding == f"connection refused on 127.0.0.1:{free_port}"

    async def test_silence_ends_at_the_timeout(self, target: Target) -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with server(silent) as port:
            finding = await make_probe(ProbeSpec(http="/", timeout=0.05), target(port)).check()
        assert finding == "no answer within 0.05 s"

    async def test_something_else_than_http_is_told(self, target: Target) -> None:
        async with server(answering(b"SSH-2.0-OpenSSH\r\n")) as port:
            finding = await make_probe(ProbeSpec(http="/"), target(port)).check()
        assert finding == "not an HTTP answer: b'SSH-2.0-OpenSSH\\r\\n'"

    async def test_a_connection_closed_at_once_is_told(self, target: Target) -> None:
        async with server(answering(b"")) as port:
            finding = await make_probe(ProbeSpec(http="/"), target(port)).check()
        assert finding == "the connection was closed without answer"

    async def test_an_endless_line_is_not_read_to_the_end(self, target: Target) -> None:
        async with server(answering(b"x" * 1_000_000)) as port:
            assert await make_probe(ProbeSpec(http="/"), target(port)).check() is not None

    async def test_a_body_that_never_ends_does_not_matter(self, target: Target) -> None:
        async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)
            await reader.read()

        async with server(stream) as port:
            assert await make_probe(ProbeSpec(http="/"), target(port)).check() is None


class TestWaiting:
    async def test_it_ends_with_the_first_success(self, target: Target) -> None:
        requests: list[bytes] = []
        answers = (b"HTTP/1.1 503 X\r\n\r\n", b"HTTP/1.1 503 X\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
        async with server(answering(*answers, requests=requests)) as port:
            probe = make_probe(ProbeSpec(http="/"), target(port))
            async with asyncio.timeout(5):
                await probe.wait()
        assert len(requests) == 3
        assert probe.finding is None

    async def test_it_ends_with_so_many_successes_in_a_row(self, target: Target) -> None:
        requests: list[bytes] = []
        good, bad = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 X\r\n\r\n"
        async with server(answering(good, bad, good, good, good, requests=requests)) as port:
            async with asyncio.timeout(5):
                await make_probe(ProbeSpec(http="/", successes=2, interval=0.01), target(port)).wait()
        assert len(requests) == 4

    async def test_how_long_the_last_attempt_took_is_kept_whatever_it_found(
        self, target: Target, free_port: int
    ) -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        refused = make_probe(ProbeSpec(tcp=True), target(free_port))
        assert (refused.latency, refused.answered_at) == (None, None)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await refused.check()
        most = loop.time() - began
        async with server(silent) as port:
            slow = make_probe(ProbeSpec(http="/", timeout=0.05), target(port))
            await slow.check()

        assert refused.latency is not None
        assert slow.latency is not None
        assert refused.answered_at is not None
        assert 0 <= refused.latency <= most
        assert slow.latency >= 0.05

    async def test_the_last_finding_is_kept_for_whoever_asks_why(
        self, target: Target, free_port: int, until: Any
    ) -> None:
        probe = make_probe(ProbeSpec(tcp=True, interval=0.001), target(free_port))
        waiting = asyncio.ensure_future(probe.wait())
        await until(lambda: probe.finding)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert probe.finding == f"connection refused on 127.0.0.1:{free_port}"
        assert probe.name == f"a connection to 127.0.0.1:{free_port}"


class TestTcp:
    @pytest.mark.parametrize("explicit", [False, True])
    async def test_a_listening_port_is_ready(self, target: Target, explicit: bool) -> None:
        async with server(answering(b"")) as port:
            probe = make_probe(ProbeSpec(tcp=port if explicit else True), target(None if explicit else port))
            assert await probe.check() is None


class TestLog:
    async def test_only_lines_of_this_start_count(self, target: Target, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text("listening on 1\n")
        probe = make_probe(ProbeSpec(log=r"listening on \d+$"), target(log_offset=log.stat().st_size))
        assert await probe.check() == "no such line yet"

        with log.open("a") as file:
            file.write("noise\nserver: listening on 80")
            file.flush()
            assert await probe.check() == "no such line yet"
            file.write("80\n")
            file.flush()

        assert await probe.check() is None
        probe.close()

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
    def test_an_expression_that_takes_for_ever_on_a_line_is_broken_off(
        self, target: Target, tmp_path: Path, run: Callable[[Any], Any]
    ) -> None:
        log = tmp_path / "log"
        log.write_text("a" * 64 + "!\nready\n")
        probe = make_probe(ProbeSpec(log=r"^(a+)+$|^ready$", timeout=50), target())

        assert run(probe.check()) is None
        probe.close()

    async def test_after_some_such_lines_it_is_not_tried_any_more(self, target: Target, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text(("a" * 64 + "!\n") * 5)
        probe = make_probe(ProbeSpec(log=r"^(a+)+$|^ready$", timeout=50), target())
        first = await probe.check()
        with log.open("a") as file:
            file.write("ready\n")

        assert (first, await probe.check()) == ("the expression takes too long on its lines",) * 2
        probe.close()

    async def test_a_log_that_cannot_be_read_is_told(self, target: Target, tmp_path: Path) -> None:
        (tmp_path / "log").mkdir()
        probe = make_probe(ProbeSpec(log="ready"), target())
        assert await probe.check() == "the log cannot be read: it is not a regular file"


class TestExec:
    async def test_exit_status_0_is_ready(self, target: Target) -> None:
        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", 'test "$COLOUR" = blue']), target(env={"COLOUR": "blue"}))
        assert await probe.check() is None

    async def test_the_status_and_the_last_line_are_told(self, target: Target) -> None:
        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", "echo one; echo two >&2; exit 3"]), target())
        assert await probe.check() == "/bin/sh ended with 3: two"

    async def test_a_missing_command_is_told(self, target: Target) -> None:
        assert await make_probe(ProbeSpec(exec=["no-such"]), target()).check() == "no-such: No such file or directory"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
    def test_it_runs_as_the_user_of_the_component_with_its_groups_and_home(
        self, target: Target, run: Callable[[Any], Any]
    ) -> None:
        nobody = resolve_user("nobody")
        told = " ".join(map(str, [nobody.uid, nobody.gid, *nobody.groups, nobody.home]))
        script = f'test "$(id -u) $(id -g) $(id -G) $HOME" = "{told}"'

        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", script]), replace(target(user="nobody"), cwd="/"))

        assert run(probe.check()) is None

    async def test_a_user_who_does_not_exist_is_told(self, target: Target) -> None:
        probe = make_probe(ProbeSpec(exec=["/bin/true"]), target(user="no-such-user"))
        assert await probe.check() == "there is no user no-such-user"

    async def test_secrets_of_the_control_plane_are_not_passed_on(
        self, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEKTON_SECURITY_JWT_SECRET", "x" * 32)
        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", 'test -z "$TEKTON_SECURITY_JWT_SECRET"']), target())
        assert await probe.check() is None

    async def test_a_command_that_hangs_is_killed_with_all_it_started(
        self, target: Target, tmp_path: Path, until: Any
    ) -> None:
        script = "sleep 60 & echo $! > pid; wait"
        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", script], timeout=1.5), target())
        assert await probe.check() == "no answer within 1.5 s"
        pid = int((tmp_path / "pid").read_text())
        if sys.platform == "linux":
            await until(lambda: (process := procfs.read(pid)) is None or process.dead)

    async def test_endless_output_does_not_fill_the_memory(self, target: Target) -> None:
        probe = make_probe(ProbeSpec(exec=["/usr/bin/yes"], timeout=0.2), target())
        assert await probe.check() == "no answer within 0.2 s"


class TestSecrets:
    @pytest.mark.parametrize(
        ("spec", "name"),
        [
            (ProbeSpec(http="http://me:hunter2@127.0.0.1:1/x"), "GET http://me:[redacted]@127.0.0.1:1/x"),
            (ProbeSpec(http="/x?token=hunter2"), "GET http://127.0.0.1:1/x?token=[redacted]"),
            (ProbeSpec(exec=["ping", "--password", "hunter2"]), "success of ping --password [redacted]"),
            (ProbeSpec(exec=["ping", "known-secret"]), "success of ping [gone]"),
        ],
    )
    def test_what_is_waited_for_is_told_without_them(self, target: Target, spec: ProbeSpec, name: str) -> None:
        def redact(text: str) -> str:
            return scrub(text.replace("known-secret", "[gone]"))

        assert make_probe(spec, target(1, redact=redact)).name == name

    async def test_what_a_command_prints_is_told_without_them(self, target: Target) -> None:
        probe = make_probe(ProbeSpec(exec=["/bin/sh", "-c", "echo token=$((40 + 2)); exit 1"]), target())
        assert await probe.check() == "/bin/sh ended with 1: token=[redacted]"


class TestOthers:
    async def test_without_a_probe_a_process_that_runs_is_ready(self, target: Target) -> None:
        async with asyncio.timeout(5):
            await make_probe(None, target()).wait()

    async def test_heartbeat_waits_for_the_component_itself(self, target: Target) -> None:
        marked = asyncio.Event()
        probe = make_probe(ProbeSpec(heartbeat=True), target(marked=marked.wait))
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = group.create_task(probe.wait())
            await asyncio.sleep(0)
            assert not waiting.done()
            assert probe.finding == "it has not reported that it is ready"
            marked.set()
