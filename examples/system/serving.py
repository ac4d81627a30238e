"""A small JSON service on the standard library: what the plain Python services of this example share.

    service = Service("hermes", port=8001)

    @service.get("/api/registry/services/{name}")
    def find(request):
        return {"name": request.params["name"]}

    service.run()

Nothing here knows Tekton. Any process that listens where it is told and ends on SIGTERM can be run by `tekton up`. Only
in a container, where nobody has started it for Tekton, it has to say that it is there: `membership.py`.

HERMES_HOST and HERMES_PORT say where hermes listens, HERMES_URL under which address others reach it.
"""

import json
import os
import re
import signal
import socketserver
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from membership import Membership, is_needed
from peers import RefusedError, announce

MAX_BODY = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request. `body` is the decoded JSON (a str when the caller sent text/plain, None without a body)."""

    params: dict[str, str]
    query: dict[str, str]
    body: Any
    accept: str


Handler = Callable[[Request], Any]


class Service:
    """Routes and the server that answers them. Each request runs in a thread of its own."""

    def __init__(self, name: str, port: int, *, announced: bool = True, capabilities: Sequence[str] = ()) -> None:
        """*announced*: enter it in the directory of hermes. *capabilities* are for a Tekton that has not started it."""
        own = name.upper()
        self.name = name
        self._announced = announced
        self._capabilities = capabilities
        self.host = os.environ.get(f"{own}_HOST", "127.0.0.1")
        self.port = int(os.environ.get("PORT") or os.environ.get(f"{own}_PORT") or port)
        self.url = os.environ.get(f"{own}_URL", f"http://127.0.0.1:{self.port}").rstrip("/").removesuffix("/api")
        self._checks: list[Callable[[], None]] = []
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self.get("/api/health")(lambda _: {"status": "ok", "service": name})
        self.get("/api/ready")(self._ready)

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Answer *method* *path*; `{name}` in the path matches one segment and lands in `request.params`."""
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

        def add(handler: Handler) -> Handler:
            self._routes.append((method, pattern, handler))
            return handler

        return add

    def get(self, path: str) -> Callable[[Handler], Handler]:
        return self.route("GET", path)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        return self.route("POST", path)

    def ready_when(self, check: Callable[[], None]) -> Callable[[], None]:
        """Answer /api/ready with 503 while *check* raises RefusedError or OSError."""
        self._checks.append(check)
        return check

    def run(self) -> NoReturn:
        """Serve until SIGTERM or Ctrl-C."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        try:
            server = _Server(self)
        except OSError as error:
            sys.exit(f"{self.name}: port {self.port}: {error.strerror}")
        member = Membership(self.name, self.url, self._capabilities, self.log) if is_needed() else None
        with server:
            self.log(f"listening on http://{self.host}:{self.port}")
            if self._announced:
                announce(self.name, self.url, self.log)
            if member is not None:
                member.start()
            try:
                server.serve_forever()
            finally:
                if member is not None:
                    member.leave()
        sys.exit(0)

    def log(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self.name}: {text}", flush=True)

    def answer(self, method: str, target: str, body: Any, accept: str) -> Any:
        """The result of the matching handler. Raises RefusedError."""
        url = urlsplit(target)
        paths = [(m, handler, found) for m, pattern, handler in self._routes if (found := pattern.fullmatch(url.path))]
        if not paths:
            raise RefusedError(404, f"nothing at {url.path}")
        for allowed, handler, found in paths:
            if allowed == method:
                params = {name: unquote(value) for name, value in found.groupdict().items()}
                return handler(Request(params, dict(parse_qsl(url.query)), body, accept))
        raise RefusedError(405, f"{method} is not possible here; {', '.join(path[0] for path in paths)} is")

    def _ready(self, _: Request) -> dict[str, bool]:
        for check in self._checks:
            try:
                check()
            except (RefusedError, OSError) as error:
                raise RefusedError(503, str(error)) from error
        return {"ready": True}


class _JsonHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: "_Server"

    def serve(self) -> None:
        status = 200
        try:
            result = self.server.service.answer(self.command, self.path, self.body(), self.headers.get("accept", ""))
        except RefusedError as refused:
            status, result = refused.status, {"status": refused.status, "detail": refused.detail}
        except OSError as error:
            status, result = 502, {"status": 502, "detail": f"another component did not answer: {error}"}
        self.send(status, result)

    do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 (the names that http.server looks for)

    def body(self) -> Any:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            raise RefusedError(413, f"at most {MAX_BODY} bytes")
        raw = self.rfile.read(int(length))
        try:
            text = self.headers.get("content-type", "").startswith("text/plain")
            return raw.decode() if text else json.loads(raw or b"null")
        except ValueError as error:
            raise RefusedError(400, f"unreadable: {error}") from error

    def send(self, status: int, result: Any) -> None:
        text = isinstance(result, str)
        content = result.encode() if text else json.dumps(result).encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8" if text else "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: object = "-", _size: object = "-") -> None:
        # Probes ask all the time; what is worth a line is what was done.
        if not self.requestline.split(" HTTP/")[0].endswith(("/health", "/ready")):
            self.server.service.log(f"{self.requestline} {code}")

    def log_message(self, form: str, *details: object) -> None:
        self.server.service.log(form % details)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server.HTTPServer: that one asks DNS for the name of the machine before it listens.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service) -> None:
        self.service = service
        super().__init__((service.host, service.port), _JsonHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):  # the client has left
            super().handle_error(request, client_address)
