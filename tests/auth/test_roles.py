import re

import pytest

from tekton.auth.roles import ACTIONS, NO_GRANTS, PERMISSIONS, ROLES, SCOPED, Grants, Role, RoleTable, permission_of


def grants(*roles: str, component_id: str | None = None) -> Grants:
    return RoleTable().grants(roles, component_id)


def test_a_permission_is_a_resource_and_a_verb_with_a_line_of_description() -> None:
    assert all(re.fullmatch(r"[a-z]+:[a-z]+", name) for name in PERMISSIONS)
    assert all(text[0].isupper() and text.endswith(".") for text in PERMISSIONS.values())
    assert PERMISSIONS.keys() >= SCOPED


def test_every_action_is_a_permission_and_every_permission_has_an_action() -> None:
    assert set(ACTIONS.values()) == set(PERMISSIONS)


@pytest.mark.parametrize("name", [*PERMISSIONS, *ACTIONS])
def test_an_action_and_a_permission_are_found_by_name(name: str) -> None:
    assert permission_of(name) in PERMISSIONS


@pytest.mark.parametrize("name", ["", "register", "components", "components:", "components:*", "*", "COMPONENTS:READ"])
def test_what_is_neither_names_no_permission(name: str) -> None:
    assert permission_of(name) is None


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_nothing_is_granted_without_a_role(permission: str) -> None:
    assert not NO_GRANTS.allows(permission, "web")
    assert not NO_GRANTS.allows_some(permission)
    assert not grants("nobody", "Admin", "").allows(permission, "web")


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_an_administrator_may_do_everything(permission: str) -> None:
    assert grants("admin").allows(permission)
    assert grants("admin").allows(permission, "web")


@pytest.mark.parametrize("role", ["anonymous", "component", "monitor", "operator"])
@pytest.mark.parametrize("permission", ["auth:manage", "audit:read", "components:configure"])
def test_what_makes_an_administrator_is_granted_to_nobody_else(role: str, permission: str) -> None:
    assert not grants(role, component_id="web").allows_some(permission)


def test_a_component_speaks_for_itself_only_and_reads_all() -> None:
    granted = grants("component", component_id="web")

    for permission in ("components:register", "components:heartbeat"):
        assert granted.allows(permission, "web")
        assert not granted.allows(permission, "db")
        assert not granted.allows(permission)
        assert granted.allows_some(permission)
    assert granted.allows("components:read", "db")
    assert granted.allows("components:read")


def test_a_replica_speaks_for_itself_and_for_its_component_in_the_registry() -> None:
    granted = grants("component", component_id="web.1")

    assert granted.allows("components:heartbeat", "web")
    assert granted.allows("components:heartbeat", "web.1")
    assert not granted.allows("components:heartbeat", "web.2")


def test_a_component_that_speaks_for_nobody_may_only_read() -> None:
    granted = grants("component")

    assert not granted.allows_some("components:register")
    assert granted.allows("components:read")


def test_the_limit_of_a_role_holds_for_what_is_about_one_component() -> None:
    table = RoleTable({"web-crew": Role(frozenset({"components:control", "metrics:read"}), ("web-*", "proxy"))})

    granted = table.grants(["web-crew"])

    assert [
        name
        for name in ("web-1", "web-", "proxy", "proxy.2", "web-1.3")
        if not granted.allows("components:control", name)
    ] == []
    assert [name for name in ("web", "proxy-2", "db", "xweb-1") if granted.allows("components:control", name)] == []
    assert not granted.allows("components:control")
    assert granted.allows("metrics:read")


def test_the_roles_of_a_principal_add_up() -> None:
    granted = grants("component", "monitor", component_id="web")

    assert granted.allows("logs:read", "db")
    assert granted.allows("components:heartbeat", "web")
    assert not granted.allows("components:heartbeat", "db")


def test_a_role_for_all_outweighs_one_for_a_few() -> None:
    table = RoleTable({"few": Role(frozenset({"logs:read"}), ("web",))})

    assert table.grants(["few", "monitor"]).allows("logs:read")


def test_a_role_that_is_built_in_cannot_be_redefined() -> None:
    with pytest.raises(ValueError, match="'admin' is built in"):
        RoleTable({"admin": Role(frozenset())})


def test_a_role_with_what_is_no_permission_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'components:control'"):
        Role(frozenset({"components:controll"}))


@pytest.mark.parametrize("wrong", ["", "a..b", "a b", "a.>.b", "tekton", "tekton.>", "_inbox.>"])
def test_a_role_cannot_be_for_subjects_that_nobody_may_publish_to(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"is no pattern of subjects|is reserved"):
        Role(frozenset(), publish=(wrong,))


@pytest.mark.parametrize("wrong", ["", "a..b", "_inbox", "_inbox.*.>"])
def test_a_role_cannot_be_for_subjects_that_are_private(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"is no pattern of subjects|is private"):
        Role(frozenset(), subscribe=(wrong,))


def test_the_subjects_of_the_roles_of_a_principal_add_up() -> None:
    table = RoleTable({"till": Role(frozenset(), publish=("pay.>",)), "ear": Role(frozenset(), subscribe=("pay.*",))})

    granted = table.grants(["till", "ear", "component"], "web")

    assert granted.publish == {"pay.>", "web", "web.>", "*.requests.>"}
    assert granted.subscribe == {"pay.*", ">"}


@pytest.mark.parametrize("pattern", ["", "Web", "web.1", "web?", "[a]", "we b", "a" * 129])
def test_a_pattern_that_can_match_no_component_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="can match no component"):
        Role(frozenset({"logs:read"}), (pattern,))


def test_the_tables_cannot_be_changed() -> None:
    for table in (PERMISSIONS, ACTIONS, ROLES, RoleTable().roles):
        with pytest.raises(TypeError):
            table["more"] = "everything"  # type: ignore[index]


@pytest.mark.parametrize(
    ("tools", "consume"), [(("a b",), ()), (("",), ()), (("A.*",), ()), ((), ("orders",)), ((), ("a/b/c",))]
)
def test_what_can_match_no_tool_and_no_consumer_is_refused(tools: tuple[str, ...], consume: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="can match no"):
        Role(frozenset(), tools=tools, consume=consume)


def test_tools_are_called_by_who_has_the_permission_or_a_role_that_names_them() -> None:
    table = RoleTable({"caller": Role(frozenset(), tools=("engram.*", "*.ping"))})
    named, all_, none = (table.grants(roles, "web") for roles in (["caller"], ["component"], ["monitor"]))

    assert named.allows("tools:call")
    assert [named.calls(one) for one in ("engram.search", "engram.a.b", "hermes.ping", "hermes.stop", "engram")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert (all_.calls("hermes.stop"), none.calls("hermes.ping"), none.allows("tools:call")) == (True, False, False)


def test_consumers_of_others_are_shared_by_who_manages_streams_or_has_a_role_that_names_them() -> None:
    table = RoleTable({"helper": Role(frozenset(), consume=("orders/bill*",))})
    named, manages, none = (table.grants(roles, "web") for roles in (["helper"], ["operator"], ["component"]))

    assert [named.shares(*one) for one in (("orders", "billing"), ("orders", "audit"), ("mail", "billing"))] == [
        True, False, False,
    ]  # fmt: skip
    assert (manages.shares("mail", "postman"), none.shares("orders", "billing")) == (True, False)
