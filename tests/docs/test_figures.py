"""The figures are drawn from the tables of the code, and what stands in docs/assets is what is drawn now."""

import re
from pathlib import Path
from xml.etree import ElementTree

import figures
import pytest

from tekton.a2a.task import TaskState
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


def test_the_classes_of_the_data_flow_are_where_it_says() -> None:
    for name, (file, _) in figures.PARTS.items():
        source = (PACKAGE / file).read_text() if file else ""
        assert not file or name == "guard" or f"\nclass {name}" in source
