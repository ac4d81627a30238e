"""Credentials, tokens, keys and permissions."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, Alert, Described, about

PART: Final = "Security"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_auth_failures",
        COUNTER,
        "Credentials that were refused: valid once (`expired`), taken back (`revoked`), none of ours "
        "(`unknown`), or none at all (`malformed`).",
        "Some are mistakes, many are guesses: the audit log tells the addresses.",
        labels=("reason",),
        alert=Alert(
            name="TektonCredentialsGuessed",
            when="sum(increase(tekton_auth_failures_total[10m])) > 50",
            lasting="0m",
            severity="warning",
            summary=(
                "Many credentials were refused: `tekton audit` names the addresses. Somebody guesses, or a "
                "client has an old one"
            ),
            see="reference/auth.md",
        ),
    ),
    about(
        PART,
        "tekton_logins_throttled",
        COUNTER,
        "Requests whose credentials nobody looked at, after too many that were not valid.",
        "Somebody guesses, and is held up.",
    ),
    about(
        PART,
        "tekton_permissions_refused",
        COUNTER,
        "Requests of known callers that were refused (403), by the permission that was missing.",
        "A role lacks something, or somebody tries what he may not.",
        labels=("permission",),
        alert=Alert(
            name="TektonForbidden",
            when="sum by (permission) (increase(tekton_permissions_refused_total[10m])) > 50",
            lasting="0m",
            severity="warning",
            summary=(
                "Somebody is refused {{ $labels.permission }} again and again: `tekton trace show` says who; "
                "bind him a role, or stop him"
            ),
            see="reference/auth.md",
        ),
    ),
    about(
        PART,
        "tekton_tokens_issued",
        COUNTER,
        "Tokens that were given out.",
        "By login, to components and for calls between them.",
    ),
    about(
        PART,
        "tekton_credentials_revoked",
        COUNTER,
        "How often a token, all tokens of a subject, a subject or a key was taken back.",
        "Somebody has a reason to; the audit log has it.",
    ),
    about(
        PART,
        "tekton_api_keys",
        GAUGE,
        "API keys, `live` and `expired`.",
        "Expired ones are listed for a week.",
        labels=("state",),
    ),
    about(
        PART,
        "tekton_api_keys_expiring",
        GAUGE,
        "Live API keys that expire within a week.",
        "Who uses them will be locked out.",
        alert=Alert(
            name="TektonKeysExpire",
            when="tekton_api_keys_expiring > 0",
            lasting="1h",
            severity="warning",
            summary=(
                "{{ $value }} API keys expire within a week: `tekton auth key list` names those that are to be rotated"
            ),
            see="reference/auth.md",
        ),
    ),
    about(
        PART,
        "tekton_api_key_oldest_age",
        GAUGE,
        "Seconds since the oldest live API key was made.",
        "Keys should be rotated now and then.",
        unit="seconds",
    ),
    about(
        PART,
        "tekton_signing_keys",
        GAUGE,
        "Keys that sign or verify tokens.",
        "More than one while a rotation is not over.",
    ),
    about(
        PART,
        "tekton_signing_key_age",
        GAUGE,
        "Seconds since the key that signs tokens was published.",
        "By default it is rotated by itself (`key_life`).",
        unit="seconds",
    ),
)
