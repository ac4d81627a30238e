"""How a process shows that it is ready, and the patience to wait for it.

    probe = make_probe(spec.ready, target)
    await probe.wait()            # polls quickly at first, then every `interval` seconds
    probe.finding                 # what the last attempt found: "connection refused on 127.0.0.1:8003"

An attempt raises `ProbeFailedError` with a reason for people. Probes of a component cost it one connection (or process)
per attempt and read at most 64 KiB of an answer.
"""

import asyncio
import contextlib
import errno
import os
import re
import signal
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tekton.supervisor.logs import LogCursor
from tekton.utils.tekton_config import ReadySpec

SETTLE_SECONDS: Final = 0.25
"""A process without a probe is ready once it has lived that long: most mistakes show at once."""

_FIRST_PAUSE: Final = 0.02
_GROWTH: Final = 1.5
_LONGEST_LOG_PAUSE: Final = 0.2
_HEAD_BYTES: Final = 64 * 1024
_OUTPUT_BYTES: Final = 4 * 1024
_DRAIN_SECONDS: Final = 0.1
_FINISH_SECONDS: Final = 1.0


class ProbeFailedError(Exception):
    """An attempt failed; the text says why."""


async def _never() -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """The process that is probed. `marked` returns when the component has said by itself that it is ready."""

    log: Path
    log_offset: int = 0
    port: int | None = None
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    marked: Callable[[], Awaitable[object]] = _never


class Probe(ABC):
    """One way to ask. `name` says what is waited for, `finding` what the last attempt found."""

    def __init__(self, name: str, interval: float, timeout: float) -> None:
        self.name = name
        self.finding: str | None = None
        self._interval = interval
        self._timeout = timeout

    async def check(self) -> str | None:
        """One attempt: None when it succeeds, else why not."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.attempt()
        except TimeoutError:
            self.finding = f"no answer within {self._timeout:g} s"
        except ProbeFailedError as error:
            self.finding = str(error)
        else:
            self.finding = None
        return self.finding

    async def wait(self) -> None:
        """Return as soon as an attempt succeeds."""
        try:
            for pause in _pauses(self._interval):
                if await self.check() is None:
                    return
                await asyncio.sleep(pause)
        finally:
            self.close()

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what is kept between attempts."""

    @property
    def repeatable(self) -> bool:
        """True when the probe says something about a process that has been ready before."""
        return True

    @abstractmethod
    async def attempt(self) -> None:
        """Return on success. Raises ProbeFailedError, or takes longer than it may."""


def make_probe(spec: ReadySpec | None, target: ProbeTarget) -> Probe:
    """The probe that *spec* asks for; None means that a process that runs is ready."""
    if spec is None:
        return SettleProbe()
    if spec.http is not None:
        return HttpProbe(spec.http, target.port, spec.interval, spec.timeout)
    if spec.tcp is not None:
        return TcpProbe(_port(spec.tcp, target.port), spec.interval, spec.timeout)
    if spec.log is not None:
        return LogProbe(spec.log, target, spec.interval, spec.timeout)
    if spec.exec is not None:
        return ExecProbe(spec.exec, target, spec.interval, spec.timeout)
    return MarkProbe(target)


class HttpProbe(Probe):
    """GET a path on the component's port, or a URL. 2xx and 3xx are success; the body is ignored."""

    def __init__(self, address: str, port: int | None, interval: float, timeout: float) -> None:
        url = urlsplit(f"http://127.0.0.1:{port}{address}" if address.startswith("/") else address)
        super().__init__(f"GET {url.geturl()}", interval, timeout)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._host = url.hostname or "127.0.0.1"
        self._port = url.port or (443 if self._tls else 80)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nAccept: */*\r\nUser-Agent: tekton-probe\r\n"
        self._request = f"{head}Connection: close\r\n\r\n".encode()

    async def attempt(self) -> None:
        with _explained(self._host, self._port):
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_HEAD_BYTES)
            try:
                writer.write(self._request)
                status = _status(await reader.readline())
                await _drain(reader)
            finally:
                writer.close()
        if not 200 <= status < 400:
            raise ProbeFailedError(f"{self.name} answered {status}")


class TcpProbe(Probe):
    """Connect to a port."""

    def __init__(self, port: int, interval: float, timeout: float) -> None:
        super().__init__(f"a connection to 127.0.0.1:{port}", interval, timeout)
        self._port = port

    async def attempt(self) -> None:
        with _explained("127.0.0.1", self._port):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()


class LogProbe(Probe):
    """Wait for a line, written since this start, in which a regular expression is found."""

    def __init__(self, pattern: str, target: ProbeTarget, interval: float, timeout: float) -> None:
        super().__init__(f"a log line that matches {pattern!r}", min(interval, _LONGEST_LOG_PAUSE), timeout)
        self._pattern = re.compile(pattern)
        self._cursor = LogCursor(target.log, target.log_offset)

    async def attempt(self) -> None:
        while lines := self._cursor.read():
            if any(self._pattern.search(line) for line in lines):
                return
        raise ProbeFailedError("no such line yet")

    def close(self) -> None:
        self._cursor.close()

    @property
    def repeatable(self) -> bool:
        return False


class ExecProbe(Probe):
    """Run a command beside the component; exit status 0 is success. It is killed when it takes too long."""

    def __init__(self, command: list[str], target: ProbeTarget, interval: float, timeout: float) -> None:
        super().__init__(f"success of {' '.join(command)}", interval, timeout)
        self._command = command
        self._cwd = target.cwd
        self._env = {**os.environ, **target.env}

    async def attempt(self) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ProbeFailedError(f"{self._command[0]}: {error.strerror or error}") from error
        try:
            output = await _output(process)
            code = await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await _finish(process)
        if code != 0:
            last = output.decode(errors="replace").strip().rpartition("\n")[2]
            raise ProbeFailedError(f"{self._command[0]} ended with {code}{': ' if last else ''}{last}")


class MarkProbe(Probe):
    """The component says by itself that it is ready."""

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__("the component to report that it is ready", 1.0, 1.0)
        self._marked = target.marked

    async def wait(self) -> None:
        self.finding = "it has not reported that it is ready"
        await self._marked()
        self.finding = None

    async def attempt(self) -> None:
        await self._marked()

    @property
    def repeatable(self) -> bool:
        return False


class SettleProbe(Probe):
    """A process that runs is ready."""

    def __init__(self) -> None:
        super().__init__("the process to run", 1.0, 1.0)

    async def wait(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)

    async def attempt(self) -> None:
        return

    @property
    def repeatable(self) -> bool:
        return False


def _pauses(interval: float) -> Iterator[float]:
    """Short pauses first, so that what starts quickly is noticed quickly."""
    pause = _FIRST_PAUSE
    while True:
        yield min(pause, interval)
        pause = min(pause * _GROWTH, interval)


def _port(tcp: bool | int, port: int | None) -> int:
    return (port or 0) if tcp is True else int(tcp)


class _Reason(NamedTuple):
    errno: int
    text: str


_REASONS: Final = (
    _Reason(errno.ECONNREFUSED, "connection refused on"),
    _Reason(errno.ECONNRESET, "connection reset by"),
)


@contextlib.contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise
    except (OSError, EOFError, ValueError) as error:
        number = getattr(error, "errno", None)
        known = next((reason.text for reason in _REASONS if reason.errno == number), None)
        raise ProbeFailedError(f"{known} {host}:{port}" if known else f"{host}:{port}: {error}") from error


def _status(line: bytes) -> int:
    match = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})\b", line)
    if match is None:
        raise ProbeFailedError(
            f"not an HTTP answer: {line[:40]!r}" if line else "the connection was closed without answer"
        )
    return int(match[1])


async def _drain(reader: asyncio.StreamReader) -> None:
    # To end a connection with unread data is an error at the other end; but nothing waits for a slow body.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            left = _HEAD_BYTES
            while left > 0 and (chunk := await reader.read(left)):
                left -= len(chunk)


async def _finish(process: asyncio.subprocess.Process) -> None:
    """Wait until a killed process has ended. Its exit is not noticed before its output has been read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FINISH_SECONDS):
            await _output(process)
            await process.wait()


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """The last bytes of the output, until it ends."""
    assert process.stdout is not None
    output = b""
    while chunk := await process.stdout.read(_OUTPUT_BYTES):
        output = (output + chunk)[-_OUTPUT_BYTES:]
    return output
