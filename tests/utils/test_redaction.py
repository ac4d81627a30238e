import pytest

from tekton.utils.redaction import REDACTED, is_secret_name, redact, redact_json


@pytest.mark.parametrize(
    "name",
    [
        "API_TOKEN",
        "jwt_secret",
        "db-password",
        "apiKey",
        "OPENAI_API_KEY",
        "credential",
        "Authorization",
        "tokens",
        "KEY",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer",
        "keyboard",
        "monkey",
        "port",
        "secretary",
        "token_expiry",
        "CREDENTIAL_FILE",
        "key-id",
        "hermes_url",
        "",
    ],
)
def test_ordinary_names_are_not_taken_for_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_known_secrets_are_removed_from_text_longest_first() -> None:
    assert redact("--token=abcdef123456", ["abcdef", "abcdef123456"]) == f"--token={REDACTED}"


def test_short_values_are_not_blacked_out() -> None:
    assert redact("level 1 of 10", ["1"]) == "level 1 of 10"


def test_passwords_in_urls_are_removed() -> None:
    assert redact("redis://user:hunter2@cache:6379/0") == f"redis://user:{REDACTED}@cache:6379/0"


def test_members_with_secret_names_are_removed_at_any_depth() -> None:
    value = {"env": {"API_TOKEN": "abc", "MODE": "fast"}, "list": [{"password": "x"}], "max_tokens": 12}

    assert redact_json(value) == {
        "env": {"API_TOKEN": REDACTED, "MODE": "fast"},
        "list": [{"password": REDACTED}],
        "max_tokens": 12,
    }
