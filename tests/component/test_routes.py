"""How decorated functions become routes."""

import pytest

from tekton.component.routes import RouteTable
from tekton.gateway.request import Request


async def test_the_first_line_of_the_docstring_is_the_summary() -> None:
    table = RouteTable()

    @table.get("/api/a")
    async def with_docstring(_: Request) -> None:
        """Do a.

        At length.
        """

    @table.get("/api/b")
    async def do_b(_: Request) -> None: ...

    assert [route.summary for route in table._routes] == ["Do a.", "Do b"]


async def test_only_methods_that_carry_a_body_take_one() -> None:
    table = RouteTable()
    for method in (table.get, table.post, table.put, table.patch, table.delete):

        @method("/api/thing")
        async def handle(_: Request) -> None: ...

    assert [(route.method, route.body) for route in table._routes] == [
        ("GET", None),
        ("POST", dict),
        ("PUT", dict),
        ("PATCH", dict),
        ("DELETE", None),
    ]


async def test_a_decorated_function_stays_what_it_is() -> None:
    table = RouteTable()

    def plain(request: Request) -> str:
        return request.path

    assert table.get("/api/a")(plain) is plain
    assert table._routes[0].handler is not plain


def test_what_cannot_be_routed_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be routed"):
        RouteTable().route("HEAD", "/api/a")(lambda _: None)
