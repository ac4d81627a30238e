"""Tests of tekton.core.impact: what would happen if a component were killed."""

from typing import Any

import pytest

from tekton.core.capability_service import Fallback
from tekton.core.impact import Part, impact_of

CHAT = ("chat",)


def capabilities(parts: dict[str, Part], killed: str = "rhetor", **fallbacks: str) -> dict[str, Any]:
    chains = {capability: [Fallback(name) for name in names.split()] for capability, names in fallbacks.items()}
    found = impact_of(killed, parts, chains)
    return {one.capability: (one.before, one.after, one.state, one.left) for one in found.capabilities}


def components(parts: dict[str, Part], killed: str = "base") -> list[tuple[str, str, str | None]]:
    return [(one.component_id, one.effect, one.through) for one in impact_of(killed, parts, {}).components]


@pytest.mark.parametrize(
    ("others", "fallbacks", "expected"),
    [
        ({}, "", (("rhetor",), (), "unavailable", ())),
        ({"local": Part()}, "local", (("rhetor",), ("local",), "fallback", ())),
        ({"local": Part(), "cloud": Part()}, "local cloud", (("rhetor",), ("local",), "fallback", ("cloud",))),
        ({"local": Part(usable=False), "cloud": Part()}, "local cloud", (("rhetor",), ("cloud",), "fallback", ())),
        ({"local": Part(usable=False)}, "local", (("rhetor",), (), "unavailable", ())),
        ({}, "gone", (("rhetor",), (), "unavailable", ())),
        (
            {"twin": Part(capabilities=CHAT), "local": Part()},
            "local",
            (("rhetor", "twin"), ("twin",), "normal", ("local",)),
        ),
        ({"local": Part(capabilities=CHAT)}, "local", (("rhetor",), ("local",), "fallback", ())),
    ],
    ids=["nobody", "fallback", "chain", "next", "all down", "unknown", "another one", "fallback that offers it"],
)
def test_each_capability_goes_to_who_is_left(others: dict[str, Part], fallbacks: str, expected: object) -> None:
    assert capabilities({"rhetor": Part(capabilities=CHAT), **others}, chat=fallbacks) == {"chat": expected}


def test_a_fallback_that_is_killed_is_missed_in_the_chain() -> None:
    parts = {"rhetor": Part(capabilities=CHAT), "local": Part(), "cloud": Part()}

    assert capabilities(parts, "local", chat="local cloud") == {
        "chat": (("rhetor",), ("rhetor",), "normal", ("cloud",))
    }
    assert capabilities(parts, "cloud", chat="local cloud") == {
        "chat": (("rhetor",), ("rhetor",), "normal", ("local",))
    }


@pytest.mark.parametrize(
    ("user", "effect"),
    [
        (Part(needs=("base",)), "goes_on"),
        (Part(needs=("base",), policy="degrade"), "degrades"),
        (Part(needs=("base",), policy="restart"), "restarts"),
        (Part(needs=("base",), policy="restart", up=False), "waits"),
    ],
)
def test_who_needs_it_goes_by_the_policy(user: Part, effect: str) -> None:
    assert components({"base": Part(), "user": user, "other": Part()}) == [("user", effect, None)]


def test_who_needs_one_that_is_restarted_is_concerned_in_turn() -> None:
    parts = {
        "base": Part(),
        "middle": Part(needs=("base",), policy="restart"),
        "steady": Part(needs=("base",)),
        "top": Part(needs=("middle",), policy="degrade"),
        "unmoved": Part(needs=("steady", "top")),
    }

    assert components(parts) == [
        ("middle", "restarts", None),
        ("steady", "goes_on", None),
        ("top", "degrades", "middle"),
    ]


def test_a_circle_of_dependencies_is_gone_round_once() -> None:
    parts = {name: Part(needs=(need,), policy="restart") for name, need in (("base", "b"), ("a", "base"), ("b", "a"))}

    assert components(parts) == [("a", "restarts", None), ("b", "restarts", "a")]


def test_it_says_whether_the_component_comes_back() -> None:
    parts = {"base": Part(comes_back=False, usable=False)}

    assert (impact_of("base", parts, {}).comes_back, impact_of("base", parts, {}).usable) == (False, False)
