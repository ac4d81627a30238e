"""How a process is asked how it is, and the patience to wait for a good answer.

    probe = make_probe(spec.ready, target)
    await probe.wait()            # polls quickly at first, then every `interval` seconds
    await probe.check()           # one attempt
    probe.finding                 # what the last attempt found: "connection refused on 127.0.0.1:8003"

Whoever wants to know (a start, the watch over what runs, a person) asks in this one way. An attempt raises
`ProbeFailedError` with a reason for people. Probes of a component cost it one connection (or process) per attempt and
read at most 64 KiB of an answer.
"""

import asyncio
import contextlib
import errno
import os
import re
import signal
import ssl
import subprocess
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tekton.supervisor.logs import LogCursor
from tekton.supervisor.privileges import Identity, UnknownUserError, inherited, resolve_user
from tekton.supervisor.time_limit import TimeLimitError, time_limit
from tekton.utils.redaction import redact_json, scrub
from tekton.utils.tekton_config import ProbeSpec

SETTLE_SECONDS: Final = 0.25
"""A process without a probe is ready once it has lived that long: most mistakes show at once."""

STARTING_INTERVAL: Final = 1.0
RUNNING_INTERVAL: Final = 5.0
"""Seconds between attempts while a process starts, and afterwards, if its configuration does not say."""

_FIRST_PAUSE: Final = 0.02
_GROWTH: Final = 1.5
_LONGEST_LOG_PAUSE: Final = 0.2
_HEAD_BYTES: Final = 64 * 1024
_OUTPUT_BYTES: Final = 4 * 1024
_DRAIN_SECONDS: Final = 0.1
_FINISH_SECONDS: Final = 1.0
_SEARCH_SECONDS: Final = 0.1
_LINES_AT_ONCE: Final = 1000
_MOST_SLOW_LINES: Final = 5
_MOST_CHARACTERS: Final = 4096


class ProbeFailedError(Exception):
    """An attempt failed; the text says why."""


async def _never() -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """The process that is probed. `marked` returns when the component has said by itself that it is ready.

    `user` (`name` or `name:group`) is whom the process runs as; None: as we do. `redact` takes secrets out of text.
    """

    log: Path
    log_offset: int = 0
    port: int | None = None
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    redact: Callable[[str], str] = scrub
    marked: Callable[[], Awaitable[object]] = _never


class Probe(ABC):
    """One way to ask. `name` says what is waited for, `finding` what the last attempt found.

    Everybody who may look at the component sees both, so neither has secrets in it.
    """

    def __init__(self, name: str, spec: ProbeSpec, redact: Callable[[str], str] = scrub) -> None:
        self.name = redact(name)
        self._redact = redact
        self.finding: str | None = None
        self.latency: float | None = None
        """Seconds that the last attempt took."""
        self.answered_at: float | None = None
        """When it ended, on the clock of the event loop."""
        self._interval = spec.interval or STARTING_INTERVAL
        self._timeout = spec.timeout
        self._successes = spec.successes

    async def check(self) -> str | None:
        """One attempt: None when it succeeds, else why not."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout):
                await self.attempt()
        except TimeoutError:
            self.finding = f"no answer within {self._timeout:g} s"
        except ProbeFailedError as error:
            self.finding = self._redact(str(error))
        else:
            self.finding = None
        self.answered_at = loop.time()
        self.latency = self.answered_at - began
        return self.finding

    async def wait(self) -> None:
        """Return as soon as `successes` attempts in a row have succeeded."""
        row = 0
        try:
            for pause in _pauses(self._interval):
                row = row + 1 if await self.check() is None else 0
                if row >= self._successes:
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


def make_probe(spec: ProbeSpec | None, target: ProbeTarget) -> Probe:
    """The probe that *spec* asks for; None means that a process that runs is ready."""
    if spec is None:
        return SettleProbe()
    if spec.http is not None:
        return HttpProbe(spec.http, target, spec)
    if spec.tcp is not None:
        return TcpProbe(_port(spec.tcp, target.port), spec)
    if spec.log is not None:
        return LogProbe(spec.log, target, spec)
    if spec.exec is not None:
        return ExecProbe(spec.exec, target, spec)
    return MarkProbe(target)


class HttpProbe(Probe):
    """GET a path on the component's port, or a URL. 2xx and 3xx are success; the body is ignored."""

    def __init__(self, address: str, target: ProbeTarget, spec: ProbeSpec) -> None:
        url = urlsplit(f"http://127.0.0.1:{target.port}{address}" if address.startswith("/") else address)
        super().__init__(f"GET {url.geturl()}", spec, target.redact)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._host = url.hostname or "127.0.0.1"
        self._port = url.port or (443 if self._tls else 80)
        place = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = f"GET {place} HTTP/1.1\r\nHost: {url.netloc}\r\nAccept: */*\r\nUser-Agent: tekton-probe\r\n"
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
    """Connect to a port. The kernel accepts for a process that hangs or is stopped: that is not noticed."""

    def __init__(self, port: int, spec: ProbeSpec) -> None:
        super().__init__(f"a connection to 127.0.0.1:{port}", spec)
        self._port = port

    async def attempt(self) -> None:
        with _explained("127.0.0.1", self._port):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()


class LogProbe(Probe):
    """Wait for a line, written since this start, in which a regular expression is found.

    Of a line, 4,096 characters are looked at. An expression that takes long on it is broken off, so that it does not
    hold up everybody else, and after some such lines it is not tried any more.
    """

    def __init__(self, pattern: str, target: ProbeTarget, spec: ProbeSpec) -> None:
        super().__init__(f"a log line that matches {pattern!r}", spec, target.redact)
        self._interval = min(self._interval, _LONGEST_LOG_PAUSE)
        self._successes = 1
        self._pattern = re.compile(pattern)
        self._cursor = LogCursor(target.log, target.log_offset)
        self._lines: deque[str] = deque()
        self._slow = 0

    async def attempt(self) -> None:
        while self._slow < _MOST_SLOW_LINES and (self._lines or self._read()):
            if self._search():
                return
            # A log that grows as fast as it is read.
            await asyncio.sleep(0)
        raise ProbeFailedError("the expression takes too long on its lines" if self._slow else "no such line yet")

    def _read(self) -> bool:
        try:
            self._lines.extend(self._cursor.read())
        except OSError as error:
            raise ProbeFailedError(f"the log cannot be read: {error.strerror or error}") from error
        return bool(self._lines)

    def _search(self) -> bool:
        try:
            with time_limit(_SEARCH_SECONDS):
                for _ in range(min(len(self._lines), _LINES_AT_ONCE)):
                    if self._pattern.search(self._lines.popleft()[:_MOST_CHARACTERS]):
                        return True
        except TimeLimitError:
            self._slow += 1
        return False

    def close(self) -> None:
        self._cursor.close()

    @property
    def repeatable(self) -> bool:
        return False


class ExecProbe(Probe):
    """Run a command as the component's user; exit status 0 is success. It is killed when it takes too long."""

    def __init__(self, command: list[str], target: ProbeTarget, spec: ProbeSpec) -> None:
        super().__init__(f"success of {_shown(command)}", spec, target.redact)
        self._command = command
        self._cwd = target.cwd
        self._env = target.env
        self._user = target.user

    async def attempt(self) -> None:
        identity = await self._identify()
        known = {} if identity is None else identity.environment()
        # What it runs lies where the component may write: it must be able to do no more than the component.
        become = None if identity is None or identity.ours else identity.assume
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                preexec_fn=become,
                cwd=self._cwd,
                env={**inherited(os.environ, identity), **known, **self._env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ProbeFailedError(f"{self._command[0]}: {error.strerror or error}") from error
        except subprocess.SubprocessError as error:
            raise ProbeFailedError(f"{self._command[0]} cannot be run as user {self._user}") from error
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

    async def _identify(self) -> Identity | None:
        try:
            return None if self._user is None else await asyncio.to_thread(resolve_user, self._user)
        except UnknownUserError as error:
            raise ProbeFailedError(str(error)) from error


class MarkProbe(Probe):
    """The component says by itself that it is ready."""

    def __init__(self, target: ProbeTarget) -> None:
        super().__init__("the component to report that it is ready", ProbeSpec())
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
        super().__init__("the process to run", ProbeSpec())

    async def wait(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)

    async def attempt(self) -> None:
        return

    @property
    def repeatable(self) -> bool:
        return False


def _shown(command: list[str]) -> str:
    words = redact_json(command)
    assert isinstance(words, list)
    return " ".join(words)


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
