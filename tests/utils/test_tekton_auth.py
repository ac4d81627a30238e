import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.key_file import KeyFile
from tekton.auth.roles import ACTIONS, PERMISSIONS, ROLES
from tekton.auth.tokens import TokenVerifier
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_auth import check_permission, generate_token, verify_token
from tekton.utils.tekton_errors import ConfigurationError, KeyFileError

SECRET = "k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory that is configured, which does not exist yet."""
    for name in os.environ:
        if name.startswith("TEKTON_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEKTON_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def now() -> float:
    return SYSTEM_CLOCK.time()


def test_a_token_is_valid_and_states_what_it_was_given() -> None:
    token = generate_token("web", "tekton", 3600, {"component_id": "web", "role": "component"})

    valid, claims = verify_token(token)

    assert valid
    assert (claims["sub"], claims["component_id"], claims["role"]) == ("web", "web", "component")
    assert claims["exp"] - claims["iat"] == 3600


def test_the_keys_are_made_in_the_data_directory_and_are_private(data_dir: Path) -> None:
    generate_token("web")

    assert stat.S_IMODE((data_dir / "keys" / "signing.json").stat().st_mode) == 0o600


def test_the_control_plane_of_the_data_directory_accepts_the_token(data_dir: Path) -> None:
    token = generate_token("web", claims={"roles": ["monitor"]})

    claims = TokenVerifier(KeyFile(data_dir).load_or_create(now())).verify(token, now())

    assert (claims.subject, claims.roles) == ("web", ("monitor",))


def test_a_token_lives_as_long_as_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEKTON_SECURITY_TOKEN_EXPIRY", "120")

    _, claims = verify_token(generate_token("web"))

    assert claims["exp"] - claims["iat"] == 120


def test_a_token_of_another_data_directory_is_not_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = generate_token("web")
    monkeypatch.setenv("TEKTON_DATA_DIR", str(tmp_path / "other"))

    assert verify_token(token) == (False, {})


@pytest.mark.parametrize("token", ["", "a.b.c", None, 5, b"", "x" * 10**6])
def test_what_is_no_token_is_not_valid_and_no_error(token: Any) -> None:
    assert verify_token(token) == (False, {})


def test_the_issuer_must_be_the_one_that_is_expected() -> None:
    token = generate_token("web", issuer="partner")

    assert verify_token(token) == (False, {})
    assert verify_token(token, issuer="partner")[0]


@pytest.mark.parametrize("expires_in", [0, -5, 86_401, float("nan")])
def test_a_life_that_nobody_would_accept_is_refused(expires_in: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        generate_token("web", expires_in=expires_in)


@pytest.mark.parametrize("claims", [{"exp": 1}, {"sub": "admin"}, {"roles": "admin"}])
def test_claims_that_are_not_the_callers_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        generate_token("web", claims=claims)


def test_the_claims_that_were_given_are_left_as_they_are() -> None:
    claims: dict[str, object] = {"roles": ["monitor"]}

    generate_token("web", claims=claims)

    assert claims == {"roles": ["monitor"]}


def test_a_secret_that_is_configured_signs_instead_of_keys(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEKTON_SECURITY_JWT_SECRET", SECRET)

    assert verify_token(generate_token("web"))[0]
    assert not data_dir.exists()


def test_a_sample_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEKTON_SECURITY_JWT_SECRET", "your_jwt_secret_here")

    with pytest.raises(ConfigurationError, match="sample value"):
        generate_token("web")


def test_keys_that_were_rotated_meanwhile_are_used(data_dir: Path) -> None:
    before = generate_token("web")
    file = KeyFile(data_dir)
    ring = file.load_or_create(now())

    file.rotate(ring, now())
    assert verify_token(before)[0]

    file.rotate(ring, now(), overlap=False)
    assert verify_token(before) == (False, {})
    assert verify_token(generate_token("web"))[0]


def test_keys_that_were_taken_away_are_made_anew(data_dir: Path) -> None:
    before = generate_token("web")
    (data_dir / "keys" / "signing.json").unlink()

    assert verify_token(generate_token("web"))[0]
    assert verify_token(before) == (False, {})


def test_keys_that_others_could_have_read_are_an_error_and_no_answer(data_dir: Path) -> None:
    token = generate_token("web")
    file = KeyFile(data_dir)
    file.rotate(file.load_or_create(now()), now())
    file.path.chmod(0o644)

    with pytest.raises(KeyFileError, match="open to others"):
        verify_token(token)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", [*ACTIONS, *PERMISSIONS])
def test_a_role_permits_an_action_when_it_has_the_permission(role: str, action: str) -> None:
    assert check_permission(role, action) == (ACTIONS.get(action, action) in ROLES[role].permissions)


@pytest.mark.parametrize(
    ("role", "action"),
    [
        ("component", "read_audit"),
        ("nobody", "register_component"),
        ("", "register_component"),
        ("admin", ""),
        ("admin", "fly"),
        ("admin", "*"),
        ("Admin", "read_metrics"),
    ],
)
def test_what_is_not_known_is_denied(role: str, action: str) -> None:
    assert check_permission(role, action) is False


def test_asking_for_a_permission_reads_no_configuration(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.setenv("TEKTON_PORT", "nonsense")

    assert check_permission("monitor", "read_metrics") is True
    assert not data_dir.exists()


def test_the_package_does_without_it_until_it_is_asked_for() -> None:
    code = (
        "import sys, tekton, tekton.cli.app, tekton.auth.principal; print({'jwt', 'cryptography'} & sys.modules.keys())"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=30) == "set()\n"
