"""graph: the tree and the formats for other programs."""

import json
from itertools import pairwise
from typing import Any

import pytest


@pytest.fixture
def document(plane: Any) -> Any:
    """web needs api and cache, api needs hermes and ghost, cache needs hermes; a and b need one another."""
    states = {"web": "starting", "api": "failed", "cache": "ready", "hermes": "ready", "a": None, "b": None}
    found = {
        "nodes": [
            *({"id": name, "state": state, "missing": False} for name, state in states.items()),
            {"id": "ghost", "state": None, "missing": True},
        ],
        "edges": [
            ["web", "api"],
            ["web", "cache"],
            ["api", "hermes"],
            ["api", "ghost"],
            ["cache", "hermes"],
            ["a", "b"],
            ["b", "a"],
        ],
        "waves": [],
        "cycles": [["a", "b"]],
    }
    plane.answers["GET /api/graph"] = (200, found)
    return found


def test_the_tree_shows_below_each_component_what_it_needs(tekton: Any, document: Any) -> None:
    result = tekton("graph")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "web  starting",
        "├─ api  failed",
        "│  ├─ hermes  ready",
        "│  └─ ghost  missing",
        "└─ cache  ready",
        "   └─ hermes  ready",
        "a  unknown",
        "└─ b  unknown",
        "   └─ a  unknown  (cycle)",
    ]
    assert result.stderr == "cycle: a -> b -> a\nmissing: ghost\n"


def test_what_was_opened_once_is_not_opened_again(tekton: Any, document: Any) -> None:
    document["edges"] = [["web", "api"], ["web", "cache"], ["cache", "api"], ["api", "hermes"]]
    document["cycles"] = []

    assert tekton("graph", "web").stdout.splitlines() == [
        "web  starting",
        "├─ api  failed",
        "│  └─ hermes  ready",
        "└─ cache  ready",
        "   └─ api  failed (*)",
    ]


def test_turned_round_the_tree_shows_what_needs_a_component(tekton: Any, document: Any) -> None:
    assert tekton("graph", "hermes", "--invert").stdout.splitlines() == [
        "hermes  ready",
        "├─ api  failed",
        "│  └─ web  starting",
        "└─ cache  ready",
        "   └─ web  starting",
    ]


def test_mermaid_has_a_node_per_component_coloured_by_its_state(tekton: Any, document: Any) -> None:
    assert tekton("graph", "-o", "mermaid", "a", "api").stdout.splitlines() == [
        "graph TD",
        '  n0["api"]:::failed',
        '  n1["hermes"]:::ready',
        '  n2["a"]:::unknown',
        '  n3["b"]:::unknown',
        '  n4["ghost"]:::missing',
        "  n0 --> n1",
        "  n0 --> n4",
        "  n2 -->|cycle| n3",
        "  n3 -->|cycle| n2",
        "  classDef failed fill:#f8c9c4,stroke:#555555",
        "  classDef ready fill:#c8e6c9,stroke:#555555",
        "  classDef unknown fill:#eeeeee,stroke:#555555",
        "  classDef missing fill:#ffffff,stroke:#555555,stroke-dasharray:4",
    ]


def test_dot_marks_what_is_missing_and_what_goes_round(tekton: Any, document: Any) -> None:
    lines = tekton("graph", "-o", "dot", "a", "api").stdout.splitlines()

    assert lines[0] == "digraph tekton {"
    assert '  "api" [fillcolor="#f8c9c4", tooltip="failed"];' in lines
    assert '  "ghost" [fillcolor="#ffffff", tooltip="missing", style="filled,dashed"];' in lines
    assert '  "api" -> "hermes";' in lines
    assert '  "a" -> "b" [color=red, label="cycle"];' in lines
    assert lines[-1] == "}"


def test_json_is_the_answer_of_the_api(tekton: Any, document: Any) -> None:
    assert json.loads(tekton("graph", "--json").stdout) == document


def test_a_mistyped_name_says_what_was_probably_meant(tekton: Any, document: Any) -> None:
    result = tekton("graph", "hermse")

    assert result.exit_code == 5
    assert "did you mean 'hermes'?" in result.stderr


def test_a_chain_longer_than_the_stack_is_deep_is_shown(tekton: Any, plane: Any) -> None:
    names = [f"c{number}" for number in range(1500)]
    plane.answers["GET /api/graph"] = (
        200,
        {
            "nodes": [{"id": name, "state": "ready", "missing": False} for name in names],
            "edges": [list(pair) for pair in pairwise(names)],
            "waves": [],
            "cycles": [],
        },
    )

    assert len(tekton("graph").stdout.splitlines()) == 1500
