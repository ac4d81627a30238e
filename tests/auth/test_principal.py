import dataclasses

import pytest

from tekton.auth.principal import ANONYMOUS, NOBODY, OWNER, owner
from tekton.auth.roles import PERMISSIONS


def test_the_owner_may_do_everything_however_that_was_proved() -> None:
    assert owner("socket") == OWNER
    for via in ("socket", "credential"):
        principal = owner(via)  # type: ignore[arg-type]
        assert (principal.subject, principal.roles, principal.via) == ("owner", ("admin",), via)
        assert all(principal.grants.allows(permission) for permission in PERMISSIONS)


def test_who_has_shown_nothing_reads_and_speaks_where_that_is_let_in() -> None:
    granted = {permission for permission in PERMISSIONS if ANONYMOUS.grants.allows(permission, "web")}

    assert granted == {
        "components:read", "metrics:read", "agents:read", "components:register", "components:heartbeat"
    }  # fmt: skip


def test_who_has_shown_nothing_may_do_nothing_elsewhere() -> None:
    assert not any(NOBODY.grants.allows_some(permission) for permission in PERMISSIONS)


def test_a_principal_cannot_be_given_more_rights_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ANONYMOUS.grants = OWNER.grants  # type: ignore[misc]
