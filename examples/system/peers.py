"""Talking to the other components: where is it, and what does it say? Standard library.

call("engram", "/api/memory/store", "POST", {"key": "a", "value": 1})
"""

import http.client
import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

USUAL_PORTS = {"engram": 8000, "hermes": 8001, "ergon": 8002, "rhetor": 8003, "athena": 8005, "telos": 8008}

_last_known: dict[str, str] = {}


class RefusedError(Exception):
    """An answer other than 200: what a handler raises, and what `call` raises for the refusal of another component."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status}: {detail}")


def call(component: str, path: str, method: str = "GET", body: Any = None) -> Any:
    """Call another component and return the decoded answer. Raises OSError or RefusedError."""
    return fetch(locate(component) + path, method, body)


def locate(component: str) -> str:
    """The base URL of a component: its own variable (`HERMES_URL`), else what Tekton says, else its usual port."""
    own = os.environ.get(f"{component.upper()}_URL")
    if own:
        return own.rstrip("/").removesuffix("/api")
    if tekton := os.environ.get("TEKTON_URL"):
        try:
            record = fetch(f"{tekton}/api/components/{component}")
            _last_known[component] = record["endpoint"] or _last_known[component]
        except (OSError, RefusedError, KeyError):
            pass  # Tekton is away or does not know: the last known address is better than none.
    return _last_known.get(component) or f"http://127.0.0.1:{USUAL_PORTS[component]}"


def fetch(url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """One HTTP request with a JSON body. Raises OSError or RefusedError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=5)
    try:
        content = None if body is None else json.dumps(body)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        kind = {"content-type": "application/json"} if content else {}
        connection.request(method, target, content, {**kind, **(headers or {})})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"null")
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{url}: {error!r}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise RefusedError(502, f"{url} answered {response.status}: {answer}")
    return answer


def announce(name: str, url: str, log: Callable[[str], None]) -> None:
    """Enter a service into the directory of hermes; without hermes it runs just as well."""
    try:
        call("hermes", f"/api/registry/services/{name}", "PUT", {"url": url})
    except (OSError, RefusedError):
        log("hermes does not answer; not in its directory")
