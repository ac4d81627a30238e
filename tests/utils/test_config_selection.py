"""Which of the configured components start by themselves."""

import pytest

from tekton.utils.config_components import ComponentSpec
from tekton.utils.config_schema import DependencySpec
from tekton.utils.config_selection import Selection


def spec(name: str, *needs: str, profiles: tuple[str, ...] = ()) -> ComponentSpec:
    dependencies = [DependencySpec(component=need) for need in needs]
    return ComponentSpec(name=name, command=[name], dependencies=dependencies, profiles=list(profiles))


SPECS = {
    one.name: one
    for one in (
        spec("web", "api"),
        spec("api", "db", "elsewhere"),
        spec("db"),
        spec("model", "db", profiles=("gpu", "all")),
        spec("trainer", "store", profiles=("train",)),
        spec("store", profiles=("train-store",)),
    )
}


def chosen(*only: str, profiles: tuple[str, ...] = (), alone: bool = False) -> set[str]:
    return set(Selection(profiles, only, alone).names(SPECS))


def test_without_a_choice_all_without_profiles_start() -> None:
    assert chosen() == {"web", "api", "db"}


@pytest.mark.parametrize("profile", ["gpu", "all"])
def test_one_active_profile_is_enough(profile: str) -> None:
    assert chosen(profiles=(profile,)) == {"web", "api", "db", "model"}


def test_what_a_chosen_component_needs_starts_whatever_its_profiles() -> None:
    assert chosen(profiles=("train",)) == {"web", "api", "db", "trainer", "store"}


def test_who_is_named_starts_with_all_that_it_needs_and_nobody_else() -> None:
    assert chosen("api") == {"api", "db"}
    assert chosen("model") == {"model", "db"}


def test_active_profiles_add_nothing_to_the_named() -> None:
    assert chosen("db", profiles=("gpu",)) == {"db"}


def test_alone_means_exactly_the_named() -> None:
    assert chosen("web", "db", alone=True) == {"web", "db"}


def test_unknown_names_count_for_nothing() -> None:
    assert chosen("db", "nobody") == {"db"}


def test_who_starts_alone_waits_only_for_who_is_named_with_it() -> None:
    restricted = Selection(only=("web", "api", "db"), alone=True).restrict(SPECS)

    assert [need.component for need in restricted["web"].dependencies] == ["api"]
    assert [need.component for need in restricted["api"].dependencies] == ["db"]
    assert restricted["model"] == SPECS["model"]


def test_with_dependencies_everything_stays_as_it_is() -> None:
    assert Selection(only=("api",)).restrict(SPECS) == SPECS


def test_a_circle_of_dependencies_does_not_keep_the_choice_from_ending() -> None:
    circle = {"a": spec("a", "b"), "b": spec("b", "a")}

    assert Selection(only=("a",)).names(circle) == {"a", "b"}


def test_why_a_component_is_left_out() -> None:
    assert Selection().why_not(SPECS["model"]) == "not started (profile gpu or all)"
    assert Selection(only=("db",)).why_not(SPECS["web"]) == "not started (others were asked for)"
