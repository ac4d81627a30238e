"""README and operations show figures that stand in docs/performance.md, and a session that was recorded."""

import re
from xml.etree import ElementTree

import capacity_figures
import pytest
import readme_figures
import record
from screen import PLAIN, Cell, Screen, drawn

SESSION = record.PICTURE.read_text()
PICTURE = record.PICTURE.relative_to(readme_figures.ROOT)


def test_the_figures_are_those_of_the_performance_page() -> None:
    readme = readme_figures.README.read_text()

    current = readme_figures.with_current_figures(readme, readme_figures.PERFORMANCE.read_text())

    assert "| **" in current
    assert current == readme, "run python docs/site/readme_figures.py"


def test_the_capacity_that_operations_tell_is_that_of_the_performance_page() -> None:
    operations = capacity_figures.OPERATIONS.read_text()

    current = capacity_figures.with_current_capacity(operations, readme_figures.PERFORMANCE.read_text())

    assert "resident" in current.partition("<!-- capacity -->")[2]
    assert current == operations, "run python docs/site/capacity_figures.py"


def test_a_figure_that_nobody_measured_is_an_error() -> None:
    with pytest.raises(KeyError, match="supervisors"):
        readme_figures.with_current_figures("<!-- figures -->\n\n<!-- end -->", "nothing was measured")


def test_a_link_of_the_readme_leads_there_from_anywhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", readme_figures.README.read_text())

    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert f"https://raw.githubusercontent.com/tekton-core/tekton/main/{PICTURE}" in links


def test_the_session_has_what_was_typed_and_fetches_nothing() -> None:
    shown = [
        "".join(text.itertext()) for text in ElementTree.fromstring(SESSION).iter("{http://www.w3.org/2000/svg}text")
    ]

    assert [line.removeprefix("$") for line in shown if line.startswith("$")] == list(record.COMMANDS)
    assert re.findall(r"(?:href|src)=", SESSION) == []
    assert len(SESSION) < 60_000


def test_a_screen_keeps_what_was_written_over_the_rest() -> None:
    screen = Screen()

    screen.write("  waiting\r\n  other\r\x1b[2K\x1b[1A\x1b[2K  \x1b[32mready\x1b[0m\r\n  it\x1b[?25h\r\n")

    assert screen.text() == ["  ready", "  it", ""]
    assert [cell.colour for cell in screen.lines[0]] == [PLAIN, PLAIN, *["#4ade80"] * 5]


def test_a_line_is_written_over_character_by_character() -> None:
    screen = Screen()

    screen.write("hello\rJ\r\nab\x1b[Kc")

    assert screen.text() == ["Jello", "abc"]


def test_columns_have_their_places_in_the_picture() -> None:
    screen = Screen()
    screen.lines = [[Cell(character, PLAIN) for character in "a b  <c>"]]

    picture = drawn(screen, "A session", 20)

    assert re.findall(r'<tspan x="(\d+)" textLength="(\d+)" fill="[^"]+">([^<]+)<', picture) == [
        ("18", "24", "a b"),
        ("58", "24", "&lt;c&gt;"),
    ]
