import pytest

from tekton.utils.redaction import REDACTED, is_secret_name, redact, redact_json, scrub


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
        "key_life",
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


def test_secret_parameters_of_urls_are_removed() -> None:
    url = "http://cache/x?token=abc#top and ?page=1&api_key=def&sort=up"
    hidden = f"http://cache/x?token={REDACTED}#top and ?page=1&api_key={REDACTED}&sort=up"
    assert redact(url) == hidden
    assert scrub("http://cache/x?token=abc") == f"http://cache/x?token={REDACTED}"


def test_members_with_secret_names_are_removed_at_any_depth() -> None:
    value = {"env": {"API_TOKEN": "abc", "MODE": "fast"}, "list": [{"password": "x"}], "max_tokens": 12}

    assert redact_json(value) == {
        "env": {"API_TOKEN": REDACTED, "MODE": "fast"},
        "list": [{"password": REDACTED}],
        "max_tokens": 12,
    }


def test_what_follows_a_secret_option_is_removed() -> None:
    assert redact_json(["run", "--password", "x", "--port", "1"]) == ["run", "--password", REDACTED, "--port", "1"]


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("password=hunter2", f"password={REDACTED}"),
        ('{"api_key": "abc", "n": 1}', f'{{"api_key": "{REDACTED}", "n": 1}}'),
        ("DB_PASSWORD: 'a b c', x", f"DB_PASSWORD: '{REDACTED}', x"),
        ("curl --api-key abc --port 1", f"curl --api-key {REDACTED} --port 1"),
        ("--password 'a b' -v", f"--password '{REDACTED}' -v"),
        ("--token --verbose", "--token --verbose"),
        ("--api-key=abc --port=1", f"--api-key={REDACTED} --port=1"),
        ("Authorization: Bearer abcdefgh1234", f"Authorization: {REDACTED}"),
        ("sent eyJhbGciOi.eyJzdWIi.c2ln to it", f"sent {REDACTED} to it"),
        ("using sk-abcdefghijklmnop1234", f"using {REDACTED}"),
        ("token_expiry=12 level=info key_count: 3", "token_expiry=12 level=info key_count: 3"),
        ("nothing to see", "nothing to see"),
        ("known abcdef123", f"known {REDACTED}"),
    ],
)
def test_text_of_strangers_is_scrubbed_of_what_looks_like_a_secret(text: str, scrubbed: str) -> None:
    assert scrub(text, ["abcdef123"]) == scrubbed


@pytest.mark.parametrize("text", ["a" * 200_000, "a-" * 100_000, "a.a:" * 50_000, "'" * 100_000, 'key="' * 40_000])
def test_scrubbing_takes_time_in_proportion_to_the_text(text: str) -> None:
    scrub(text)  # it would not end within the limit for a test
