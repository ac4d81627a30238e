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
