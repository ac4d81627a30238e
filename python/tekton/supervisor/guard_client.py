"""The control plane's side of the guard: start processes, signal them, hear at once when they end.

    guard = await GuardClient.connect(descriptor)        # under a guard (the descriptor is in TEKTON_GUARD_FD)
    guard = await GuardClient.launch(data_dir)           # without one: a private guard that ends with us

Processes outlive this client when it is a crashed control plane's: the next one finds them in `children`, together
with those that have ended in the meantime.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tekton.supervisor import procfs
from tekton.supervisor.exits import Exit
from tekton.supervisor.log_rotation import Rotation
from tekton.supervisor.privileges import Identity, Limits, UnknownUserError, exposed_directory, resolve_user
from tekton.utils.tekton_errors import SpawnError, SupervisionError

ExitListener = Callable[["ChildProcess"], None]

_HELLO_TIMEOUT = 20.0
_SWEEP_ROUNDS = 20


class ChildProcess:
    """A process that the guard started. `started_at` is wall-clock time, `log_offset` the position of its log's begin.

    `log_problem` says why what it prints is not kept; None when it is.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.id: int = description["id"]
        self.pid: int = description["pid"]
        self.name: str = description["name"]
        self.started_at: float = description["started_at"]
        self.log_offset: int = description["log_offset"]
        self.log_problem: str | None = description["log_problem"]
        self.meta: dict[str, str] = description["meta"]
        self.exit: Exit | None = None
        self._ended = asyncio.Event()
        self._cleared = asyncio.Event()
        if description["exit"] is not None:
            self.note_exit(Exit(**description["exit"]))
        if description["cleared"]:
            self.note_cleared()

    def __repr__(self) -> str:
        return f"<ChildProcess {self.name} pid {self.pid}: {self.exit or 'running'}>"

    async def wait(self) -> Exit:
        """Wait until the process has ended."""
        await self._ended.wait()
        assert self.exit is not None
        return self.exit

    async def wait_cleared(self) -> None:
        """Wait until nothing is left of all that the process started."""
        await self._cleared.wait()

    def note_exit(self, how: Exit) -> None:
        """For the client: the process has ended."""
        self.exit = how
        self._ended.set()

    def note_cleared(self) -> None:
        """For the client: nothing is left of it."""
        self._cleared.set()


class GuardClient:
    """A connection to the guard.

    `pid` is the guard's, `run_id` begins the mark of all its processes. `incarnation` counts the control planes that
    this guard has had: from 2 on, we replace one that has crashed.
    """

    def __init__(self, on_lost: Callable[[], None] | None = None) -> None:
        self.pid = 0
        self.run_id = ""
        self.incarnation = 0
        self._on_lost = on_lost
        self._children: dict[int, ChildProcess] = {}
        self._listeners: list[ExitListener] = []
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._abandoned: set[int] = set()
        self._last_seq = 0
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def connect(cls, descriptor: int, *, on_lost: Callable[[], None] | None = None) -> Self:
        """Speak to the guard over an inherited socket.

        When the guard is lost, all its processes are killed and *on_lost* is called (once, on the loop): a control
        plane without a guard must end. Raises SupervisionError when there is no guard at the other end.
        """
        client = cls(on_lost)
        await client._open(socket.socket(fileno=descriptor))
        return client

    @classmethod
    async def launch(
        cls, data_dir: Path, *, on_lost: Callable[[], None] | None = None, lock_timeout: float = 10.0
    ) -> Self:
        """Start a private guard. It stops everything that it started when this client, or this process, ends.

        One that is just ending has *lock_timeout* seconds to make room. Raises SupervisionError.
        """
        client = cls(on_lost)
        ours, theirs = socket.socketpair()
        with theirs:
            client._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tekton.supervisor.guard", "--data-dir", str(data_dir)),
                *("--attached", "--lock-timeout", str(lock_timeout)),
                env={**os.environ, "TEKTON_GUARD_FD": str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            await client._open(ours)
        except SupervisionError as error:
            code = await client._process.wait()
            raise SupervisionError(f"the guard did not start (exit code {code})") from error
        return client

    @property
    def children(self) -> list[ChildProcess]:
        """All processes that run, or whose end was not acknowledged, oldest first."""
        return list(self._children.values())

    def add_listener(self, listener: ExitListener) -> Callable[[], None]:
        """Call *listener* with each process that ends, at once, on the loop; returns what takes it back."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: str | Path,
        log: str | Path,
        env: Mapping[str, str] | None = None,
        meta: Mapping[str, str] | None = None,
        user: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        rotation: Rotation = Rotation(),  # noqa: B008 - immutable
    ) -> ChildProcess:
        """Start a process in a session of its own and return once its program runs.

        *env* is added to what it inherits of the guard's environment. Output is appended to the file *log*, which is
        rotated. *meta* is given back with the process, to the next control plane too. *user* is `name` or `name:group`.
        Raises SpawnError when the program cannot be run, or not so, or when that user could get at the data directory.
        A process that was started while this call was cancelled is killed.
        """
        identity = None if user is None else await _identify(name, user, str(log))
        known = {} if identity is None else identity.environment()
        reply = await self._request(
            "spawn",
            name=name,
            argv=list(argv),
            env={**known, **(env or {})},
            cwd=str(cwd),
            log=str(log),
            meta=dict(meta or {}),
            identity=identity and identity._asdict(),
            limits=limits._asdict(),
            rotation=rotation._asdict(),
        )
        if "error" in reply:
            raise SpawnError(name, reply["error"])
        started: ChildProcess = reply["process"]
        return started

    async def signal(self, child: ChildProcess, signum: int, *, group: bool = True) -> bool:
        """Send a signal to a process, or to its process group. False when it has ended."""
        reply = await self._request("signal", id=child.id, signal=int(signum), group=group)
        return bool(reply.get("sent"))

    async def stop(self, child: ChildProcess, grace: float) -> bool:
        """Ask a process group to end (SIGTERM) and let the guard kill what is left of it after *grace* seconds.

        Returns at once; False when the process has ended already. `wait_cleared()` waits for the end of it.
        """
        reply = await self._request("stop", id=child.id, grace=grace)
        return bool(reply.get("sent"))

    def acknowledge(self, child: ChildProcess) -> None:
        """The end of *child* has been dealt with: neither we nor a later control plane need to hear of it again."""
        self._children.pop(child.id, None)
        self._send({"op": "ack", "id": child.id})

    def announce_serving(self) -> None:
        """Tell the guard that we have come up: if we crash now, it starts us again without long delays."""
        self._send({"op": "serving"})

    def announce_patience(self, seconds: float) -> None:
        """Tell the guard how long an orderly stop of ours may take; it waits no less than it was told at its start."""
        self._send({"op": "patience", "seconds": seconds})

    async def close(self) -> None:
        """Close the connection. A private guard is waited for: with it all its processes end."""
        self._on_lost = None
        if self._transport is not None:
            self._transport.close()
            await self._gone.wait()
        if self._process is not None:
            await self._process.wait()

    # The connection

    async def _open(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        lines = _Lines(self._receive, self._lost)
        self._transport, _ = await loop.create_unix_connection(lambda: lines, sock=connection)
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT):
                await asyncio.shield(self._hello)
        except TimeoutError as error:
            raise SupervisionError("the guard does not answer") from error

    async def _request(self, operation: str, **fields: object) -> dict[str, Any]:
        self._last_seq += 1
        seq = self._last_seq
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[seq] = reply
        self._send({"op": operation, "seq": seq, **fields})
        try:
            return await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled():
                self._discard(reply.result())
            else:
                self._abandoned.add(seq)
            raise
        finally:
            self._replies.pop(seq, None)

    def _send(self, message: Mapping[str, object]) -> None:
        if self._transport is None or self._gone.is_set():
            raise SupervisionError("the guard is gone")
        self._transport.write(json.dumps(message).encode() + b"\n")

    def _receive(self, message: dict[str, Any]) -> None:
        match message:
            case {"event": "hello"}:
                self._on_hello(message)
            case {"event": "exited"}:
                self._on_exited(message)
            case {"event": "cleared"}:
                if child := self._children.get(message["id"]):
                    child.note_cleared()
            case {"seq": int(seq)}:
                self._on_reply(seq, message)

    def _on_hello(self, message: dict[str, Any]) -> None:
        self.pid, self.run_id, self.incarnation = message["pid"], message["run_id"], message["incarnation"]
        for description in message["children"]:
            self._children[description["id"]] = ChildProcess(description)
        if not self._hello.done():
            self._hello.set_result(None)

    def _on_exited(self, message: dict[str, Any]) -> None:
        child = self._children.get(message["id"])
        if child is None:
            return
        child.note_exit(Exit(message["code"], message["signal"], message["memory_limit"]))
        for listener in list(self._listeners):
            listener(child)

    def _on_reply(self, seq: int, message: dict[str, Any]) -> None:
        if "child" in message:
            # Noted here, not by the waiting call: the news of its end may be in the same read.
            child = message["process"] = ChildProcess(message["child"])
            self._children[child.id] = child
        reply = self._replies.get(seq)
        if reply is not None and not reply.done():
            reply.set_result(message)
        elif seq in self._abandoned:
            self._abandoned.discard(seq)
            self._discard(message)

    def _discard(self, reply: dict[str, Any]) -> None:
        if (child := reply.get("process")) is not None:
            self._send({"op": "stop", "seq": 0, "id": child.id, "grace": 0})
            self.acknowledge(child)

    def _lost(self) -> None:
        self._gone.set()
        error = SupervisionError("the guard is gone")
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error)
        if not self._hello.done():
            self._hello.set_exception(error)
            # Retrieved here: nobody may be waiting for it.
            self._hello.exception()
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None and self.run_id:
            self._kill_everything()
            on_lost()

    def _kill_everything(self) -> None:
        # The guard's other half does this too, unless both were killed.
        if not procfs.AVAILABLE:
            for child in self._children.values():
                if child.exit is None:
                    with suppress(OSError):
                        os.killpg(child.pid, signal.SIGKILL)
        for _ in range(_SWEEP_ROUNDS):
            left = procfs.marked(f"{self.run_id}.", exclude=(os.getpid(),))
            if procfs.kill_all(left) == 0:
                return


async def _identify(name: str, user: str, log: str) -> Identity:
    try:
        identity, exposed = await asyncio.to_thread(_look_up, user, os.path.dirname(log))
    except (UnknownUserError, OSError) as error:
        raise SpawnError(name, str(error)) from error
    if exposed is not None:
        # It could put its own files in the place of the database, the credential, the logs.
        raise SpawnError(name, f"user {identity.name} may write {exposed}, in which the data directory of Tekton lies")
    return identity


def _look_up(user: str, directory: str) -> tuple[Identity, str | None]:
    """Who *user* is, and through which directory it could get at *directory*."""
    identity = resolve_user(user)
    return identity, exposed_directory(directory, identity)


class _Lines(asyncio.Protocol):
    """Splits what arrives into JSON lines."""

    def __init__(self, receive: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._receive(json.loads(line))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost()
