"""A control plane for tests: real HTTP on a Unix socket or a TCP port, with what it knows set by the test."""

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]

AT = 1_700_000_000.0
INSTANCE = "00000000-0000-4000-8000-00000000000"

_PING = b": ping\n\n"
# A reader that is interrupted right before it blocks notices when something comes, as with the real control plane.
_PING_EVERY = 0.5


def record(name: str, state: str = "ready", **fields: Any) -> Json:
    """A ComponentRecord."""
    return {
        "component_id": name,
        "instance_uuid": f"{INSTANCE}1",
        "component_name": name,
        "component_type": "service",
        "version": "1.0.0",
        "capabilities": [],
        "dependencies": [],
        "endpoint": None,
        "metadata": {},
        "max_instances": 1,
        "supervised": True,
        "state": state,
        "reason": None,
        "generation": 1,
        "revision": 1,
        "registered_at": AT,
        "changed_at": AT + 0.5,
        "serving": True,
        **fields,
    }


def view(name: str, state: str = "ready", **fields: Any) -> Json:
    """A ComponentView."""
    extra = {"pid": None, "port": None, "restarts": 0, "uptime": None, "note": None, "log": None}
    health = {"ready": "ok", "degraded": "warn", "failed": "fail"}.get(state)
    use = {"health": health, "cpu": None, "memory": None, "replicas": 1, "ready_replicas": int(state == "ready")}
    return record(name, state, **{**extra, **use, **fields})


def change(revision: int, name: str, previous: str | None, state: str, **fields: Any) -> Json:
    """A Change."""
    own = {"revision": revision, "changed_at": AT + revision, **fields.pop("after", {})}
    after = record(name, state, **own)
    return {
        "revision": revision,
        "at": AT + revision,
        "kind": "state",
        "component_id": name,
        "instance_uuid": after["instance_uuid"],
        "previous": previous,
        "state": state,
        "reason": None,
        "record": after,
        **fields,
    }


def why(name: str, state: str = "ready", **fields: Any) -> Json:
    """What GET …/why answers."""
    return {
        "component_id": name,
        "state": state,
        "reason": None,
        "since": AT,
        "waiting_for": [],
        "failed_dependencies": [],
        "restart": None,
        "evidence": [],
        "dependents": [],
        "history": [],
        "causes": [],
        "affected": [],
        "awaited_by": [],
        **fields,
    }


def cause(name: str, state: str | None, **fields: Any) -> Json:
    """One of the causes in what GET …/why answers."""
    own = {"reason": None, "since": AT, "phase": None, "because": [], "restart": None, "evidence": []}
    return {"component_id": name, "state": state, **own, **fields}


def problem(status: int, code: str, detail: str, **fields: Any) -> tuple[int, Json]:
    """A problem document with its status."""
    return status, {"type": f"urn:tekton:error:{code}", "status": status, "code": code, "detail": detail, **fields}


class ControlPlane:
    """What the double knows, and what it was asked."""

    def __init__(self) -> None:
        self.components: list[Json] = []
        self.whys: dict[str, Json] = {}
        self.histories: dict[str, list[Json]] = {}
        self.logs: dict[str, list[str]] = {}
        self.answers: dict[str, tuple[int, Json]] = {}
        self.streams: dict[str, Any] = {}
        """The events of a stream, or a function that makes them of the Last-Event-ID."""
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Json] = []
        self.authorizations: list[str | None] = []
        self.revision = 0
        self.delay = 0.0
        self.mute = False
        """Connections end without an answer, as when the process does."""
        self.on_stop: Callable[[], None] = lambda: None
        self.server: socketserver.BaseServer | None = None
        self.on_stream: list[Callable[[], object]] = []
        self.on_log_stream: list[Callable[[], object]] = []
        self._changes: list[Json] = []
        self._new_lines: list[tuple[str, str]] = []
        self._connections = 0
        self._streams = 0
        self._news = threading.Condition()
        self._closing = False
        self._stopped = threading.Event()

    def publish(self, *changes: Json) -> None:
        """Tell the watchers."""
        with self._news:
            self._changes += changes
            self.revision = max([self.revision, *(item["revision"] for item in changes)])
            self._news.notify_all()

    def publish_after_snapshot(self, *changes: Json) -> None:
        """Tell the watchers, the next time that one has got its snapshot."""
        self.on_stream.append(lambda: self.publish(*changes))

    def write_log(self, name: str, line: str) -> None:
        """Tell the readers of a log."""
        with self._news:
            self._new_lines.append((name, line))
            self._news.notify_all()

    def silence(self) -> Iterator[tuple[str, Json]]:
        """A stream in which nothing is told until the double leaves, or its reader does."""
        while not self._stopped.wait(0.05):
            yield "ping", {}

    def drop_streams(self) -> None:
        """End every open stream, as a restart does."""
        with self._news:
            self._connections += 1
            self._news.notify_all()

    def leave(self, *, drain: bool = False) -> None:
        """End the streams and listen no more, as an orderly stop does; *drain*: wait until all is sent."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        self.close()
        with self._news:
            self._news.wait_for(lambda: not drain or not self._streams, timeout=5)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """For the length of a stream: it is waited for before the double leaves."""
        with self._news:
            self._streams += 1
        try:
            yield
        finally:
            with self._news:
                self._streams -= 1
                self._news.notify_all()

    def close(self) -> None:
        self._stopped.set()
        with self._news:
            self._closing = True
            self._news.notify_all()

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        """The answer to anything but a stream."""
        if self.delay:
            self._stopped.wait(self.delay)
        parts = path.strip("/").split("/")
        if (scripted := self.answers.get(f"{method} {path}")) is not None:
            return scripted
        if parts[:2] == ["api", "components"]:
            return self._about(parts[2], parts[3] if len(parts) > 3 else "", query)
        if path == "/api/system/stop":
            self.on_stop()
        document = {
            "/api/health": {"status": "ok"},
            "/api/version": {"version": "0.1.0", "python": "3.11.7", "pid": 4711},
            "/api/system": {
                "version": "0.1.0",
                "revision": self.revision,
                "started_at": AT,
                "components": self.components,
            },
            "/api/system/stop": {"operation": "stop"},
        }.get(path)
        return (200, document) if document else problem(404, "route_not_found", f"no route {path}")

    def _about(self, name: str, what: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        """The answer about one component."""
        if what == "history" and name in self.histories:
            return 200, {"items": self.histories[name][: int(query["limit"][0])]}
        if what == "logs" and name in self.logs:
            count = int(query["tail"][0])
            return 200, {"path": "", "lines": self.logs[name][-count:] if count else []}
        if what == "why" and self._knows(name):
            return 200, self.whys.get(name) or why(name)
        if what == "" and self._knows(name):
            return 200, next(item for item in self.components if item["component_id"] == name)
        if what == "spec" or (what in ("start", "stop", "restart") and self._knows(name)):
            return 200, {"operation": what.replace("spec", "start"), "component_id": name, "done": True}
        return problem(404, "component_not_found", f"no component {name!r}", component_id=name, nearest=None)

    def _knows(self, name: str) -> bool:
        return any(item["component_id"] == name for item in self.components)

    def changes(self, since: int | None) -> Iterator[bytes]:
        """The event stream of the changes after *since*; with None, a snapshot first."""
        mine = self._connections
        if since is None:
            with self._news:
                records = [item for item in self.components if item["generation"]]
                since = self.revision
            yield f"id: {since}\nevent: snapshot\ndata: {json.dumps(records)}\n\n".encode()
        if self.on_stream:
            self.on_stream.pop(0)()
        while (batch := self._next_changes(since, mine)) is not None:
            if not batch:
                yield _PING
            for item in batch:
                since = item["revision"]
                yield f"id: {since}\nevent: change\ndata: {json.dumps(item)}\n\n".encode()
        yield b'event: bye\ndata: {"reason": "stopping", "retry": 1.0}\n\n'

    def _next_changes(self, since: int, connection: int) -> list[Json] | None:
        """The changes after *since*, as soon as there are any; none after a while, None when the connection ends."""

        def after() -> list[Json]:
            return [item for item in self._changes if item["revision"] > since]

        with self._news:
            self._news.wait_for(lambda: self._ended(connection) or after(), _PING_EVERY)
            return after() or (None if self._ended(connection) else [])

    def lines(self, name: str, count: int) -> Iterator[bytes]:
        """The event stream of a log."""
        mine, position = self._connections, len(self._new_lines)
        for line in self.logs[name][-count:] if count else []:
            yield f"data: {json.dumps({'line': line})}\n\n".encode()
        if self.on_log_stream:
            self.on_log_stream.pop(0)()
        while (batch := self._next_lines(position, mine)) is not None:
            if not batch:
                yield _PING
            position += len(batch)
            for owner, line in batch:
                if owner == name:
                    yield f"data: {json.dumps({'line': line})}\n\n".encode()

    def _next_lines(self, position: int, connection: int) -> list[tuple[str, str]] | None:
        with self._news:
            self._news.wait_for(lambda: self._ended(connection) or len(self._new_lines) > position, _PING_EVERY)
            return self._new_lines[position:] or (None if self._ended(connection) else [])

    def _ended(self, connection: int) -> bool:
        return self._closing or self._connections != connection


def _id(data: Json) -> str:
    """The line with the id of an event, if it has a number."""
    number = data.get("number", data.get("sequence"))
    return "" if number is None else f"id: {number}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control_plane: ControlPlane

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if body:
            self.control_plane.bodies.append(json.loads(body))
        self._serve()

    do_PUT = do_POST  # noqa: N815 - the name that http.server looks for
    do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        self.close_connection = True
        plane, url = self.control_plane, urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        plane.requests.append((self.command, self.path))
        plane.authorizations.append(self.headers.get("Authorization"))
        if path == "/events/components" and f"GET {path}" not in plane.answers:
            position = self.headers.get("Last-Event-ID")
            self._stream(plane.changes(None if position is None else int(position)))
        elif self._is_streamed(f"{self.command} {path}"):
            events = plane.streams[f"{self.command} {path}"]
            if callable(events):
                events = events(self.headers.get("Last-Event-ID"))
            self._stream(f"{_id(data)}event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)
        elif query.get("follow") == ["1"] and path.split("/")[3] in plane.logs:
            self._stream(plane.lines(path.split("/")[3], int(query["tail"][0])))
        else:
            self._answer(*plane.answer(self.command, path, query))

    def _is_streamed(self, asked: str) -> bool:
        return asked in self.control_plane.streams and self.headers.get("Accept") == "text/event-stream"

    def _answer(self, status: int, document: Json) -> None:
        if self.control_plane.mute:
            return
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the client has given up

    def _stream(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            with self.control_plane.streaming():
                self._chunk(_PING)
                for event in events:
                    self._chunk(event)
                self._chunk(b"")
        except OSError:
            pass  # the reader has left

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def address_string(self) -> str:
        return "local"

    def log_message(self, *_: Any) -> None:
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(plane: ControlPlane, address: Any) -> None:
    """Serve *plane* on a socket path or a (host, port) until it leaves."""
    handler = type("BoundHandler", (Handler,), {"control_plane": plane})
    kind: Any = UnixServer if isinstance(address, str) else http.server.ThreadingHTTPServer
    plane.server = kind(address, handler)
    threading.Thread(target=plane.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
