"""Whom a request comes from that a proxy has passed on."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.gateway.errors import MalformedRequestError
from tekton.gateway.proxies import TrustedProxies

Reveal = Callable[..., tuple[str, str, str]]

PROXIES = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])


@pytest.fixture
def reveal(scope: Any, headers: Any) -> Reveal:
    """`reveal(("x-forwarded-for", "…"), client="…")`: the client, scheme and host that are believed."""

    def reveal(*pairs: tuple[str, str], client: str = "10.0.0.1:5000") -> tuple[str, str, str]:
        seen, fields = PROXIES.reveal(scope(client=client), headers(("host", "inner"), *pairs))
        assert [*fields.get_all("host")] == [fields.get("host")]
        return seen.client, seen.scheme, fields.get("host") or ""

    return reveal


@pytest.mark.parametrize(
    ("pairs", "seen"),
    [
        ([], ("10.0.0.1:5000", "http", "inner")),
        ([("x-forwarded-for", "192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        ([("x-forwarded-for", "192.0.2.7:1234")], ("192.0.2.7:0", "http", "inner")),
        ([("x-forwarded-for", "2001:db8::7")], ("[2001:db8::7]:0", "http", "inner")),
        ([("x-forwarded-for", "[2001:db8::7]:99")], ("[2001:db8::7]:0", "http", "inner")),
        ([("x-forwarded-for", "::ffff:192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        # What the client has sent itself stands to the left.
        ([("x-forwarded-for", "127.0.0.1, 192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        ([("x-forwarded-for", "<script>, 192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        ([("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        # Trusted proxies behind one another are passed over.
        ([("x-forwarded-for", "198.51.100.9, 192.0.2.7, 10.9.9.9, 10.8.8.8")], ("192.0.2.7:0", "http", "inner")),
        ([("x-forwarded-for", "10.9.9.9, 10.8.8.8")], ("10.9.9.9:0", "http", "inner")),
        ([("x-forwarded-for", "192.0.2.7, unknown")], ("10.0.0.1:5000", "http", "inner")),
        ([("x-forwarded-proto", "https")], ("10.0.0.1:5000", "https", "inner")),
        (
            [
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-proto", "http, HTTPS"),
                ("x-forwarded-host", "evil.example, tekton.example"),
            ],
            ("192.0.2.7:0", "https", "tekton.example"),
        ),
        ([("forwarded", "for=192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        (
            [("forwarded", 'for="[2001:db8::7]:99";proto=https;host="tekton.example:444";by=_x')],
            ("[2001:db8::7]:0", "https", "tekton.example:444"),
        ),
        ([("forwarded", "for=127.0.0.1;host=evil.example, For=192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        ([("forwarded", 'for="'), ("forwarded", "for=192.0.2.7")], ("192.0.2.7:0", "http", "inner")),
        ([("forwarded", "for=_hidden;proto=https")], ("10.0.0.1:5000", "https", "inner")),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(
    reveal: Reveal, pairs: list[tuple[str, str]], seen: tuple[str, str, str]
) -> None:
    assert reveal(*pairs) == seen


@pytest.mark.parametrize("client", ["192.0.2.1:5000", "11.0.0.1:1", "[2001:db8::1]:1", "", "127.0.0.2:9"])
def test_who_is_no_trusted_proxy_is_not_believed(reveal: Reveal, client: str) -> None:
    pairs = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")]

    assert reveal(*pairs, client=client) == (client, "http", "inner")
    assert reveal(("forwarded", "nonsense"), client=client) == (client, "http", "inner")


@pytest.mark.parametrize("client", ["10.0.0.1:5000", "[::ffff:10.0.0.1]:5000", "[fd00::1]:5", "127.0.0.1:1"])
def test_proxies_are_known_in_every_notation(reveal: Reveal, client: str) -> None:
    assert reveal(("x-forwarded-for", "192.0.2.7"), client=client)[0] == "192.0.2.7:0"


@pytest.mark.parametrize(
    "pairs",
    [
        [("x-forwarded-for", "nobody")],
        [("x-forwarded-for", "1.2.3.4.5")],
        [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "gopher")],
        [("x-forwarded-for", "192.0.2.7, " * 40)],
        [("forwarded", "nonsense")],
        [("forwarded", "for=192.0.2.7;for=192.0.2.8")],
        [("forwarded", 'for="192.0.2.7')],
        [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7")],
        [("forwarded", "for=192.0.2.7"), ("x-forwarded-proto", "https")],
    ],
)
def test_a_proxy_that_cannot_be_understood_is_refused(reveal: Reveal, pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedRequestError):
        reveal(*pairs)


@given(st.lists(st.sampled_from(["127.0.0.1", "10.0.0.1", "evil", "_x", '"', ";", "192.0.2.1"]), max_size=6))
def test_nothing_that_a_client_sends_moves_the_address_that_the_proxy_adds(sent: list[str]) -> None:
    class Fields:
        def keys(self) -> list[str]:
            return ["x-forwarded-for"]

        def __contains__(self, name: str) -> bool:
            return name in self.keys()

        def get_all(self, name: str) -> list[str]:
            return [",".join([*sent, "203.0.113.9"])] if name == "x-forwarded-for" else []

    class At:
        client, scheme = "10.0.0.1:1", "http"

    seen, _ = PROXIES.reveal(At(), Fields())  # type: ignore[arg-type]
    assert seen.client == "203.0.113.9:0"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        TrustedProxies(["10.0.0.1/8"])
    assert not TrustedProxies([])


def test_everything_else_of_the_request_stays(scope: Any, headers: Any) -> None:
    before = headers(("host", "inner"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-host", "outer"), ("a", "b"))
    request = scope(client="10.0.0.1:1", method="PUT", path="/x", query_string="y", headers=before)
    seen, fields = PROXIES.reveal(request, before)

    assert (seen.proto, seen.method, seen.path, seen.query_string) == ("http", "PUT", "/x", "y")
    assert (seen.authority, seen.headers) == (None, before)
    assert ("host" in fields, "a" in fields, "c" in fields) == (True, True, False)
    assert (len(fields), fields.keys(), fields.values()) == (4, before.keys(), before.values())
    assert (fields.get("a"), fields.get("c", "d"), fields.get_all("a")) == ("b", "d", ["b"])
