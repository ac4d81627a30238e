import secrets

import pytest

from tekton.utils import config_rules


@pytest.mark.parametrize(
    "value", ["your_jwt_secret_here", "YOUR_JWT_SECRET_HERE", "a-string-secret-at-least-256-bits-long"]
)
def test_a_published_sample_is_refused_as_a_secret(value: str) -> None:
    problem = config_rules.check_secret(value)

    assert problem is not None
    assert "sample" in problem[0]


@pytest.mark.parametrize("value", ["short", "x" * 31, "ab" * 40])
def test_a_secret_that_can_be_guessed_is_refused_without_being_repeated(value: str) -> None:
    problem = config_rules.check_secret(value)

    assert problem is not None
    assert value not in str(problem)


def test_a_random_secret_of_32_bytes_is_accepted() -> None:
    assert config_rules.check_secret(secrets.token_hex(16)) is None


def test_the_length_of_a_secret_is_counted_in_bytes() -> None:
    assert config_rules.check_secret("äöüßéèêëçñ€abcdef") is not None
    assert config_rules.check_secret("äöüßéèêëçñ€abcdefghijk") is None


@pytest.mark.parametrize(
    ("value", "size"),
    [(65536, 65536), ("65536", 65536), ("64K", 65536), ("64 KiB", 65536), ("1.5m", 1572864), ("2GB", 2**31)],
)
def test_sizes_count_in_powers_of_1024(value: int | str, size: int) -> None:
    assert config_rules.parse_size(value) == size
    assert config_rules.check_size(value) is None


@pytest.mark.parametrize("value", ["", "M", "-1", "1X", "1e9", "64K64K", "9" * 100, 65535, -1])
def test_what_is_no_sensible_size_is_refused(value: int | str) -> None:
    assert config_rules.check_size(value) is not None


@pytest.mark.parametrize(("value", "right"), [("app", True), ("app:www", True), ("1000:0", True), ("", False)])
def test_a_user_may_have_a_group(value: str, right: bool) -> None:
    assert (config_rules.check_user(value) is None) == right


@pytest.mark.parametrize("value", [":www", "app:", "a:b:c", "a\0"])
def test_what_is_no_user_is_refused(value: str) -> None:
    assert config_rules.check_user(value) is not None


@pytest.mark.parametrize("value", ["10.1.0.0/16", "192.0.2.7", "fd00::/8", "::1", "0.0.0.0/0"])
def test_a_network_may_be_a_single_address(value: str) -> None:
    assert config_rules.check_network(value) is None


@pytest.mark.parametrize("value", ["", "10.1", "10.1.0.1/16", "example.com", "10.0.0.0/33", "10.0.0.0/8:80"])
def test_what_is_no_network_is_refused(value: str) -> None:
    assert config_rules.check_network(value) is not None


@pytest.mark.parametrize("value", ["/ready", "/ready?deep=1", "http://127.0.0.1:9/x", "https://h/%20"])
def test_a_probe_asks_for_a_path_or_a_url(value: str) -> None:
    assert config_rules.check_probe_address(value) is None


@pytest.mark.parametrize("value", ["ready", "file:///x", "/x HTTP/1.0", "/x\r\nX-Evil: 1", "/\0"])
def test_what_is_no_address_of_a_probe_is_refused(value: str) -> None:
    assert config_rules.check_probe_address(value) is not None


@pytest.mark.parametrize("value", ["https://a", "http://localhost:3000", "https://ops.example/", "http://[::1]:80"])
def test_an_origin_is_a_scheme_a_host_and_perhaps_a_port(value: str) -> None:
    assert config_rules.check_origin(value) is None


@pytest.mark.parametrize(
    "value", ["*", "null", "", "ops.example", "https://*.example", "https://a/b", "ftp://a", "https://a b"]
)
def test_what_a_browser_never_sends_is_no_origin(value: str) -> None:
    problem = config_rules.check_origin(value)

    assert problem is not None
    assert problem[0] == "is no origin"
