"""The route table, and the way from a method and a path to its route.

One table makes routing, body decoding, permissions and the OpenAPI document. Paths are matched as they are:
nothing is normalised, so a path that is not canonical is no other route's path. Paths without parameters, and
those seen lately, are found with one dictionary access; others with one per shape of that length (a shape is the
positions of the parameters).
"""

import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tekton.auth.roles import PERMISSIONS
from tekton.gateway.bodies import Takes
from tekton.gateway.errors import MalformedRequestError, MethodNotAllowedError, RouteNotFoundError
from tekton.gateway.load import Priority
from tekton.gateway.request import Request
from tekton.utils.tekton_errors import TektonError

if TYPE_CHECKING:
    from tekton.core.component_lifecycle.steps import Step

Handler = Callable[[Request], Awaitable[Any]]
"""`async (Request) -> Response | EventStream | Struct | dict | list | bytes | None`."""

Params = dict[str, str]

_MAX_RECENT = 16_384

PUBLIC = "public"
"""The permission of routes that everybody may use."""

AUTHENTICATED = "authenticated"
"""That of routes which everybody may use who has shown who he is."""

CALLERS = "callers"
"""That of routes of a component which everybody may use whom it lets in, with a credential or without one."""

Repeats = Literal["answered", "known", "harmless"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One operation of the HTTP interface.

    `path` may have parameters, each a whole segment: `/api/components/{component_id}`. `permission` is what the
    authorisation policy is asked for: one of `PERMISSIONS`, `PUBLIC`, `AUTHENTICATED` or `CALLERS`. `body` and `query`
    are the types that JSON body and query string are decoded into (a query type is a `msgspec.Struct` of scalars);
    `max_body` is in bytes. `media_types` are those of a `response` that is `bytes`. `status` is that of a plain
    result; `also` are further ones with the same kind of answer; `or_stream` says that it may be an event stream
    instead. `errors` are those that the document mentions beside the ones any route may give. `unique_keys` refuses
    objects that have a key twice; without it the last one counts, for bodies that are too many to be looked at again.
    A body that is not JSON is given to the handler as it was sent, `raw` being the media types that it knows. `takes`,
    `decoder` and `no_body` (what stands for an absent body: an empty object where all fields have defaults) follow
    from `body`. `repeats` says what becomes of a request with an `Idempotency-Key` that comes again: it is `answered`
    as before; only that it was done is `known`, because the answer has a secret; or it is `harmless`, and done again.
    `answer_of` makes the answer of the steps of the one command that the handler gives, where that is all the answer
    is made of; then it is kept with the change. `keyed` follows: whether the route heeds a key. What an `attributed`
    route changes is done on behalf of who asks for it; of others the handler sees to that when it changes something
    (`Request.act`), which costs the rest nothing. What reads never is. What is `vital` is served whatever the load;
    `priority` follows: in which order requests are refused (`load`). With `slash` the path is the same with one behind
    it, for protocols whose clients say so. `tickets`: it may be opened with a ticket in place of a credential.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    permission: str = PUBLIC
    body: type | None = None
    query: type[msgspec.Struct] | None = None
    response: Any = None
    media_types: tuple[str, ...] = ("application/octet-stream",)
    status: int = 200
    also: tuple[int, ...] = ()
    max_body: int = 65536
    unique_keys: bool = True
    raw: tuple[str, ...] = ()
    errors: tuple[type[TektonError], ...] = ()
    tags: tuple[str, ...] = ()
    or_stream: bool = False
    vital: bool = False
    slash: bool = False
    tickets: bool = False
    attributed: bool = True
    priority: Priority = field(init=False, repr=False, default="look")
    repeats: Repeats = "answered"
    answer_of: "Callable[[Sequence[Step]], Any] | None" = None
    keyed: bool = field(init=False, repr=False, default=False)
    takes: Takes = field(init=False, repr=False, default="nothing")
    decoder: "msgspec.json.Decoder[Any] | None" = field(init=False, repr=False, default=None)
    no_body: bytes = field(init=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.method in ("HEAD", "OPTIONS"):
            raise ValueError(f"{self.method} cannot be routed")
        if self.permission not in (PUBLIC, AUTHENTICATED, CALLERS) and self.permission not in PERMISSIONS:
            raise ValueError(f"{self.permission} is no permission")
        if not all(200 <= status <= 599 for status in (self.status, *self.also)):
            raise ValueError(f"{self.path} answers with a status that there is not")
        keyed = self.method in _WRITES and self.path.startswith("/api/") and self.repeats != "harmless"
        object.__setattr__(self, "keyed", keyed)
        takes = "json" if self.body is not None else "anything" if self.raw else "nothing"
        object.__setattr__(self, "takes", takes)
        object.__setattr__(self, "attributed", self.attributed and self.method in _WRITES)
        object.__setattr__(self, "priority", "vital" if self.vital else "look" if self.method == "GET" else "change")
        if self.body is not None:
            decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.body)
            object.__setattr__(self, "decoder", decoder)
            object.__setattr__(self, "no_body", b"{}" if _takes_nothing(decoder) else b"")

    @property
    def parameters(self) -> list[str]:
        """The names in braces, in path order."""
        return _PARAMETER.findall(self.path)


def _takes_nothing(decoder: "msgspec.json.Decoder[Any]") -> bool:
    try:
        decoder.decode(b"{}")
    except msgspec.ValidationError:
        return False
    return True


_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_TEMPLATE = re.compile(r"(?:/(?:\{[a-z_]+\}|[A-Za-z0-9._~:-]+))+|/")
VALUE = r"[A-Za-z0-9._~!$&'()*+,;=:@-]{1,256}"
"""What a segment may consist of (RFC 3986 pchar, decoded) when it becomes a parameter. Neither `.` nor `..`."""

_VALUE = re.compile(VALUE)


_Methods = dict[str, Route]
_Names = tuple[tuple[str, int], ...]


class _Shape:
    """All paths of one length with parameters at the same positions."""

    __slots__ = ("key", "table")

    def __init__(self, literals: Sequence[int]) -> None:
        self.key: Callable[[list[str]], Hashable] = itemgetter(*literals)
        self.table: dict[Hashable, tuple[_Methods, _Names]] = {}


class Router:
    """Finds the route of a request.

    Raises ValueError for two routes with the same method and path, or one path with two names for a parameter.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, tuple[_Methods, Params]] = {}
        self._recent: dict[str, tuple[_Methods, Params]] = {}
        self._shapes: dict[int, dict[tuple[int, ...], _Shape]] = {}
        for route in routes:
            self._add(route)
        for length, shapes in self._shapes.items():
            self._shapes[length] = dict(sorted(shapes.items(), key=_precedence))

    def match(self, method: str, path: str) -> tuple[Route, Params]:
        """The route and the values of its parameters (shared: not to be changed). GET answers HEAD.

        Raises RouteNotFoundError, MethodNotAllowedError (also for methods unknown to HTTP), or
        MalformedRequestError for a path that could only match by being cleaned up.
        """
        methods, params = self._exact.get(path) or self._recent.get(path) or self._find(method, path)
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            raise MethodNotAllowedError(method, _allowed(methods))
        return route, params

    def has(self, path: str) -> bool:
        """True when *path* is a route's, whatever the method."""
        try:
            return bool(self._exact.get(path) or self._recent.get(path) or self._find("GET", path))
        except RouteNotFoundError:
            return False

    def _find(self, method: str, path: str) -> tuple[_Methods, Params]:
        segments = path.split("/")
        for shape in self._shapes.get(len(segments), {}).values():
            if (found := shape.table.get(shape.key(segments))) is not None:
                methods, names = found
                entry = methods, {name: _checked(segments[at]) for name, at in names}
                if len(self._recent) >= _MAX_RECENT:
                    self._recent.clear()
                self._recent[path] = entry
                return entry
        if method not in METHODS:
            raise MethodNotAllowedError(method, METHODS)
        raise RouteNotFoundError(path)

    def _add(self, route: Route) -> None:
        if _TEMPLATE.fullmatch(route.path) is None:
            raise ValueError(f"{route.path} is not a path")
        for path in (route.path, f"{route.path}/")[: 1 + route.slash]:
            methods = self._methods(path)
            if route.method in methods:
                raise ValueError(f"{route.method} {path} is in the table twice")
            methods[route.method] = route

    def _methods(self, path: str) -> _Methods:
        """The methods of *path*; it is entered when it is new."""
        segments = path.split("/")
        names = tuple((segment[1:-1], at) for at, segment in enumerate(segments) if segment.startswith("{"))
        if not names:
            return self._exact.setdefault(path, ({}, {}))[0]
        positions = tuple(at for _, at in names)
        shapes = self._shapes.setdefault(len(segments), {})
        if positions not in shapes:
            shapes[positions] = _Shape([at for at in range(len(segments)) if at not in positions])
        methods, known = shapes[positions].table.setdefault(shapes[positions].key(segments), ({}, names))
        if known != names:
            raise ValueError(f"{path} is in the table with other parameter names")
        return methods


def _precedence(shape: tuple[tuple[int, ...], _Shape]) -> tuple[int, list[int]]:
    """More literal segments win over fewer, then literal segments that come earlier."""
    positions, _ = shape
    return len(positions), [-at for at in positions]


def _allowed(methods: _Methods) -> list[str]:
    names = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return [name for name in METHODS if name in names]


def _checked(value: str) -> str:
    if _VALUE.fullmatch(value) is None or value in (".", ".."):
        raise MalformedRequestError("the path is not in its canonical form")
    return value
