"""What lets us in at an agent: where it goes, and where it does not."""

import pytest

from tekton.utils.remote_agents.credential import Credential

HOME = "https://agents.example/reviewer"


def test_a_bearer_token_goes_to_the_host_at_which_the_agent_was_registered() -> None:
    assert Credential("s3cret").headers("https://agents.example:8443/rpc", HOME) == {"Authorization": "Bearer s3cret"}


def test_a_key_goes_into_its_header_as_it_is() -> None:
    assert Credential("s3cret", "X-API-Key").headers(HOME, HOME) == {"X-API-Key": "s3cret"}


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/rpc", "https://agents.example.evil/", "https://x.agents.example/"]
)
def test_a_host_that_only_the_card_names_gets_nothing(url: str) -> None:
    assert Credential("s3cret").headers(url, HOME) == {}


def test_a_host_that_the_owner_names_gets_it() -> None:
    assert Credential("s3cret", hosts=("rpc.example",)).headers("https://rpc.example/", HOME) != {}


def test_it_is_not_sent_in_the_clear_where_it_was_encrypted_before() -> None:
    assert Credential("s3cret").headers("http://agents.example/rpc", HOME) == {}


def test_nobody_sees_it_who_looks_at_it() -> None:
    assert "s3cret" not in repr(Credential("s3cret"))


def test_it_is_written_and_read_again() -> None:
    credential = Credential("s3cret", "X-API-Key", ("rpc.example",))

    assert Credential.from_json(credential.to_json()) == credential


@pytest.mark.parametrize(
    ("secret", "header"),
    [("", "Authorization"), ("a b", "Authorization"), ("a\r\nHost: x", "X-Key"), ("ä", "X-Key"), ("a" * 8001, "X-Key")]
    + [("a", header) for header in ("", "Host", "content-length", "X Key", "X:Key", "Cookie", "x" * 65)],
)
def test_what_no_header_can_carry_is_refused(secret: str, header: str) -> None:
    with pytest.raises(ValueError, match="credential"):
        Credential(secret, header)
