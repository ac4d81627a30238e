"""auth: who one is, what one may do, tokens and keys."""

import json
from pathlib import Path
from typing import Any

import pytest

AT = 1_700_000_000.0
WHO = {
    "subject": "owner",
    "roles": ["admin"],
    "via": "socket",
    "component_id": None,
    "expires_at": None,
    "permissions": ["auth:manage", "components:configure", "system:control"],
    "own": [],
    "matching": [],
}
KEY = {
    "id": "Zk3vQ9pLm2Xa",
    "subject": "ci",
    "roles": ["operator"],
    "label": "deploys",
    "created_at": AT,
    "expires_at": None,
    "last_used": None,
}


def test_the_credential_of_the_data_directory_is_printed(tekton: Any, data_dir: Path) -> None:
    (data_dir / "run" / "credential").write_text("s3cret\n")

    result = tekton("auth", "credential")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "s3cret\n", "")


def test_without_a_credential_it_is_said_what_makes_one(tekton: Any) -> None:
    result = tekton("auth", "credential")

    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr.startswith("error[unauthenticated]: there is no credential in ")


def test_the_credential_of_somebody_else_is_not_read(tekton: Any, data_dir: Path) -> None:
    (data_dir / "run" / "credential").mkdir()

    result = tekton("auth", "credential")

    assert result.exit_code == 7
    assert "is not yours to read" in result.stderr


# Who one is


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        ({}, "owner: admin (by the Unix socket, through ", "  may do everything"),
        (
            {"subject": "billing", "roles": ["component"], "via": "credential", "permissions": ["components:read"]},
            "billing: component (by its credential, through ",
            "  may components:read",
        ),
        (
            {"subject": "x\x1b[2J", "roles": [], "via": "none", "permissions": []},
            "x [2J: no role (by nothing shown, through ",
            "  may ask whether the control plane is alive",
        ),
    ],
)
def test_the_control_plane_is_asked_who_one_is(
    tekton: Any, plane: Any, fields: dict[str, Any], first: str, second: str
) -> None:
    plane.answers["GET /api/auth/whoami"] = 200, {**WHO, **fields}

    lines = tekton("auth", "whoami").stdout.splitlines()
    told = json.loads(tekton("auth", "whoami", "-o", "json").stdout)

    assert lines[0].startswith(first)
    assert lines[1] == second
    assert (told["subject"], "through" in told) == (fields.get("subject", "owner"), True)


def test_what_one_may_do_for_single_components_is_told(tekton: Any, plane: Any) -> None:
    some = {"permissions": [], "own": [["components:heartbeat", "web"]], "matching": [["logs:read", "web-*"]]}
    plane.answers["GET /api/auth/whoami"] = 200, {**WHO, **some}

    assert tekton("auth", "whoami").stdout.splitlines()[1:] == [
        "  may components:heartbeat for web",
        "  may logs:read for web-*",
    ]


def test_a_credential_that_is_refused_is_not_permitted(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers["GET /api/auth/whoami"] = double.problem(401, "unauthenticated", "this needs a valid credential")

    assert tekton("auth", "whoami").exit_code == 7


@pytest.mark.parametrize(("allowed", "said", "status"), [(True, "yes\n", 0), (False, "no\n", 7)])
def test_whether_one_may_do_something_is_an_exit_status(
    tekton: Any, plane: Any, allowed: bool, said: str, status: int
) -> None:
    answer = {"permission": "components:control", "component_id": "web", "allowed": allowed}
    plane.answers["GET /api/auth/can-i"] = 200, answer

    result = tekton("auth", "can-i", "manage_components", "web")
    as_json = tekton("auth", "can-i", "manage_components", "-o", "json")

    assert (result.exit_code, result.stdout) == (status, said)
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (status, answer)


# Tokens


def token(**fields: Any) -> dict[str, Any]:
    own = {"token": "a.b.c", "token_id": "t1", "subject": "ci", "roles": ["operator", "monitor"]}
    return {**own, "issued_at": AT, "expires_at": AT + 4e9, **fields}


def test_a_token_is_printed_alone(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/auth/token"] = 201, token()

    result = tekton(
        "auth", "token", "--subject", "ci", "--role", "operator", "--role", "monitor", "--expires-in", "15m"
    )

    assert (result.exit_code, result.stdout) == (0, "a.b.c\n")
    assert result.stderr.startswith("a token for ci [operator, monitor] that expires in ")
    assert plane.bodies == [{"subject": "ci", "roles": ["operator", "monitor"], "expires_in": 900.0}]


def test_without_options_a_token_is_asked_for_oneself(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/auth/token"] = 201, token()

    assert json.loads(tekton("auth", "token", "-o", "json").stdout) == token()
    assert plane.bodies == [{}]


def test_what_is_not_granted_is_not_permitted(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers["POST /api/auth/token"] = double.problem(403, "forbidden", "no", permission="auth:manage")

    assert tekton("auth", "token", "--subject", "ci").exit_code == 7


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["a.b.c"], {"token": "a.b.c"}),
        (["--id", "t1", "--reason", "lost"], {"token_id": "t1", "reason": "lost"}),
        (["--subject", "ci"], {"subject": "ci"}),
        (["--subject", "ci", "--bar"], {"subject": "ci", "bar": True}),
        (["--subject", "ci", "--restore"], {"subject": "ci", "restore": True}),
        (["--subject", "ci", "--role", "a", "--role", "b"], {"subject": "ci", "roles": ["a", "b"]}),
    ],
)
def test_a_revocation_names_what_is_meant(tekton: Any, plane: Any, arguments: list[str], body: Any) -> None:
    plane.answers["POST /api/auth/revoke"] = 200, {"revoked": "token:t1"}

    result = tekton("auth", "revoke", *arguments)

    assert (result.exit_code, result.stdout, plane.bodies) == (0, "", [body])
    assert result.stderr.startswith("token:t1 is ")


def test_a_token_is_read_from_stdin(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/auth/revoke"] = 200, {"revoked": "token:t1"}

    assert tekton("auth", "revoke", "-", input="a.b.c\n").exit_code == 0
    assert plane.bodies == [{"token": "a.b.c"}]


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["a.b.c", "--subject", "ci"], ["a.b.c", "--bar"], ["--id", "t", "--restore"], ["--id", "t", "--role", "a"],
        ["--subject", "ci", "--bar", "--role", "a"],
    ],
)  # fmt: skip
def test_a_revocation_of_nothing_or_two_things_is_a_mistake(tekton: Any, arguments: list[str]) -> None:
    assert tekton("auth", "revoke", *arguments).exit_code == 2


# Keys


def test_a_key_is_printed_alone(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/keys"] = 201, {**KEY, "key": "tk_x"}

    result = tekton("auth", "key", "create", "--subject", "ci", "--role", "operator", "--label", "deploys")

    assert (result.exit_code, result.stdout) == (0, "tk_x\n")
    assert result.stderr == ("key Zk3vQ9pLm2Xa for ci [operator] holds until it is removed; it is not shown again\n")
    assert plane.bodies == [{"subject": "ci", "roles": ["operator"], "label": "deploys"}]


def test_a_key_is_rotated_with_an_overlap(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/keys/Zk3vQ9pLm2Xa/rotate"] = 201, {**KEY, "key": "tk_y"}

    assert tekton("auth", "key", "rotate", "Zk3vQ9pLm2Xa", "--overlap", "1d").stdout == "tk_y\n"
    assert json.loads(tekton("auth", "key", "rotate", "Zk3vQ9pLm2Xa", "-o", "json").stdout)["key"] == "tk_y"
    assert plane.bodies == [{"overlap": 86400.0}, {"overlap": 3600.0}]


def test_keys_are_listed_without_the_keys(tekton: Any, plane: Any) -> None:
    ended = {**KEY, "id": "b" * 12, "label": "", "expires_at": AT, "last_used": AT}
    plane.answers["GET /api/keys"] = 200, {"items": [KEY, ended]}

    lines = tekton("auth", "key", "list").stdout.splitlines()

    assert lines[0].split() == ["KEY", "SUBJECT", "ROLES", "EXPIRES", "LAST", "USED", "LABEL"]
    assert lines[1].split() == ["Zk3vQ9pLm2Xa", "ci", "operator", "never", "never", "deploys"]
    assert lines[2].split()[:4] == ["b" * 12, "ci", "operator", "expired"]
    assert json.loads(tekton("auth", "key", "list", "-o", "json").stdout) == {"items": [KEY, ended]}


def test_a_key_is_removed(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers["DELETE /api/keys/Zk3vQ9pLm2Xa"] = 200, KEY
    plane.answers["DELETE /api/keys/other"] = double.problem(404, "api_key_not_found", "no API key", key_id="other")

    removed, unknown = (tekton("auth", "key", "remove", name) for name in ("Zk3vQ9pLm2Xa", "other"))

    assert removed.stderr == "Zk3vQ9pLm2Xa, a key of ci, is not accepted any more\n"
    assert unknown.exit_code == 5


# Keys that sign tokens

SIGNING_KEY = {
    "id": "1DsvsNxrVuxSGdIkGXCDDuj9I7eSMchBRzkN8njoLzw",
    "use": "tokens",
    "algorithm": "EdDSA",
    "state": "signs",
    "published_at": AT,
    "signs_from": AT,
    "retires_at": None,
}


@pytest.mark.parametrize(
    ("arguments", "order", "said"),
    [
        ([], (True, "tokens"), "it is published, and signs in "),
        (["--void"], (False, "tokens"), "it signs from now on, and all tokens from before are void"),
        (["--cards"], (True, "cards"), "it signs from now on, beside the one before"),
        (["--cards", "--void"], (False, "cards"), "it signs from now on, and all cards from before are void"),
    ],
)
def test_a_signing_key_is_rotated(
    tekton: Any, plane: Any, arguments: list[str], order: tuple[bool, str], said: str
) -> None:
    plane.answers["POST /api/auth/signing-keys/rotate"] = 201, SIGNING_KEY

    result = tekton("auth", "signing-key", "rotate", *arguments)
    as_json = tekton("auth", "signing-key", "rotate", *arguments, "-o", "json")

    assert (result.exit_code, result.stdout) == (0, f"{SIGNING_KEY['id']}\n")
    assert result.stderr.startswith(said)
    assert json.loads(as_json.stdout) == SIGNING_KEY
    assert plane.bodies == [{"overlap": order[0], "use": order[1]}] * 2


def test_a_secret_is_a_conflict(tekton: Any, plane: Any, double: Any) -> None:
    detail = "tokens are signed with `jwt_secret`, which Tekton has not made and cannot replace"
    plane.answers["POST /api/auth/signing-keys/rotate"] = double.problem(409, "key_rotation", detail)

    result = tekton("auth", "signing-key", "rotate")

    assert result.exit_code == 6
    assert detail in result.stderr


def test_signing_keys_are_listed(tekton: Any, plane: Any) -> None:
    old = {**SIGNING_KEY, "id": "old", "state": "verifies", "retires_at": AT + 4e9}
    items = [{**old, "id": "older", "state": "retired", "retires_at": AT}, old, SIGNING_KEY]
    plane.answers["GET /api/auth/signing-keys"] = 200, {"items": items, "life": 7_776_000.0}

    heading, *rows = tekton("auth", "signing-key", "list").stdout.splitlines()
    told = json.loads(tekton("auth", "signing-key", "list", "-o", "json").stdout)

    assert heading.split() == ["KEY", "SIGNS", "ALGORITHM", "STATE", "MADE", "RETIRES"]
    assert [tuple(row.split()[:4]) for row in rows] == [
        ("older", "tokens", "EdDSA", "retired"),
        ("old", "tokens", "EdDSA", "verifies"),
        (SIGNING_KEY["id"], "tokens", "EdDSA", "signs"),
    ]
    assert (rows[0].split()[-1], rows[2].split()[-1]) == ("now", "-")
    assert told["items"] == items
