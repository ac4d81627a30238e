"""`@group` in place of a NAME."""

from typing import Any

import pytest

from tekton.cli.names import expand
from tekton.utils.tekton_errors import ComponentNotFoundError

GROUPS = {"web": ["front"], "api": ["front", "back"], "db": ["back"], "cron": []}


def test_a_group_stands_for_its_components_in_their_order() -> None:
    assert expand(["@front"], GROUPS) == ("web", "api")


def test_every_component_is_there_once_where_it_was_named_first() -> None:
    assert expand(["db", "@front", "@back", "web"], GROUPS) == ("db", "web", "api")


def test_other_names_are_left_alone() -> None:
    assert expand(["cron", "nobody"], GROUPS) == ("cron", "nobody")


def test_an_unknown_group_is_told_with_the_nearest() -> None:
    with pytest.raises(ComponentNotFoundError) as raised:
        expand(["@frnt"], GROUPS)

    assert raised.value.nearest == "@front"


@pytest.fixture
def grouped(plane: Any, double: Any) -> Any:
    plane.components = [double.view("web"), double.view("api"), double.view("db", "failed")]
    for view, groups in zip(plane.components, (["front"], ["front"], []), strict=True):
        view["groups"] = groups
    return plane


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_the_verbs_that_act_take_a_group(tekton: Any, grouped: Any, verb: str) -> None:
    result = tekton(verb, "@front", "db")

    assert result.exit_code == 0, result.stderr
    acted = [path for method, path in grouped.requests if method == "POST"]
    assert acted == [f"/api/components/{name}/{verb}?wait=1" for name in ("web", "api", "db")]


def test_ps_and_logs_take_a_group(tekton: Any, grouped: Any) -> None:
    grouped.logs = {"web": ["from web"], "api": ["from api"], "db": ["from db"]}

    assert tekton("ps", "-o", "name", "@front").stdout.split() == ["web", "api"]
    assert tekton("logs", "@front").stdout.splitlines() == ["web | from web", "api | from api"]


def test_a_mistyped_group_does_nothing(tekton: Any, grouped: Any) -> None:
    result = tekton("stop", "@frnt")

    assert result.exit_code == 5
    assert "did you mean '@front'?" in result.stderr
    assert not [path for method, path in grouped.requests if method == "POST"]
