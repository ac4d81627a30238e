"""The figures are drawn from the tables of the code, and what stands in docs/assets is what is drawn now."""

import re
from pathlib import Path
from xml.etree import ElementTree

import figures
import pytest
from svg import TONES

from tekton.a2a.task import TaskState
from tekton.auth.roles import PERMISSIONS, ROLES, SCOPED
from tekton.bus.bus import Bus, Policy
from tekton.core.degradation.breaker_states import TRANSITIONS
from tekton.core.lifecycle import VALID_TRANSITIONS

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "tekton"
FIGURES = dict(figures.figures())


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.name)
def test_the_stored_figure_is_the_one_that_is_drawn(path: Path) -> None:
    assert path.read_text() == FIGURES[path], "run python docs/site/figures.py"


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.name)
def test_a_figure_is_an_svg_that_fetches_nothing(path: Path) -> None:
    ElementTree.fromstring(FIGURES[path])

    assert re.findall(r"https?://[^\"]+", FIGURES[path]) == ["http://www.w3.org/2000/svg"]


def test_the_lifecycle_has_an_arrow_for_each_transition() -> None:
    drawn = figures.lifecycle()

    assert drawn.count("marker-end") == sum(len(targets) for targets in VALID_TRANSITIONS.values())
    assert set(re.findall(r">(\w+)</text>", drawn)) == {state.value for state in VALID_TRANSITIONS}


def test_the_states_of_a_task_are_all_drawn() -> None:
    drawn = re.findall(r">([\w ·]+)</text>", figures.task())

    assert {name for text in drawn for name in text.split(" · ")} == {state.value for state in TaskState}


def test_the_breaker_has_every_event_that_leads_somewhere() -> None:
    drawn = re.findall(r">([\w, ]+)</text>", figures.breaker())

    assert {event.value for _, event in TRANSITIONS} <= {name for text in drawn for name in text.split(", ")}


@pytest.mark.parametrize("parts", [figures.PARTS, figures.WAYS, figures.REMOTE])
def test_classes_are_where_a_figure_says(parts: dict[str, tuple[str, object]]) -> None:
    for name, (file, _) in parts.items():
        source = (PACKAGE / file).read_text() if file else ""
        assert not file or name == "guard" or f"\nclass {name}" in source


def test_the_ways_of_a_message_begin_and_end_at_what_one_calls_of_a_bus() -> None:
    called = {name for name, (file, _) in figures.WAYS.items() if not file}

    assert called == {"publish", "request", "subscribe", "consume", "replay"}
    assert all(hasattr(Bus, name) for name in called)


def test_every_policy_and_the_dead_letters_are_on_the_ways_of_a_message() -> None:
    drawn = set(re.findall(r">(\w+)</text>", figures.messages()))

    assert {policy.value for policy in Policy} | {"dead_letters"} <= drawn


def test_the_matrix_has_a_dot_for_each_permission_of_a_role_and_a_ring_where_it_is_for_its_own_component() -> None:
    drawn, legend = figures.roles(), 1
    held = [(role, permission) for role in ROLES.values() for permission in role.permissions]
    own = [one for one in held if one[0].scope == "own" and one[1] in {*SCOPED, "messages:publish"}]

    assert re.findall(r'x="16" y="[\d.]+" text-anchor="start"[^>]+>([\w:]+)</text>', drawn) == list(PERMISSIONS)
    assert drawn.count(f'fill="{TONES["good"][0]}"') == len(own) + legend
    assert drawn.count(f'fill="{TONES["good"][1]}"') == len(held) - len(own) + legend


def test_every_page_about_a_concept_has_its_figure() -> None:
    drawn = {path.name for path in FIGURES}

    shown = {
        page.name: set(re.findall(r"\(\.\./assets/([\w-]+\.svg)\)", page.read_text()))
        for page in (Path(figures.ASSETS).parent / "concepts").glob("*.md")
    }

    assert [name for name, figures_of in shown.items() if not figures_of & drawn] == []
