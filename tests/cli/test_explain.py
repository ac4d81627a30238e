"""explain: the catalogue on the command line."""

import json
from typing import Any

from tekton.utils.error_catalogue import catalogue


def test_a_code_is_explained_with_causes_advice_and_exit_status(tekton: Any) -> None:
    result = tekton("explain", "start_timeout")

    assert result.exit_code == 0
    assert result.stdout.startswith("start_timeout: A component did not become ready in time\nexit status 4, HTTP ")
    assert "Usual causes:\n- " in result.stdout
    assert "What to do:\n  Read its log." in result.stdout
    assert "](" not in result.stdout


def test_a_code_may_be_pasted_as_it_was_printed(tekton: Any) -> None:
    assert tekton("explain", "error[unreachable]:").stdout.startswith("unreachable: ")


def test_without_a_code_all_are_listed(tekton: Any) -> None:
    lines = tekton("explain").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:]] == list(catalogue())


def test_all_of_it_is_there_for_programs(tekton: Any) -> None:
    one = json.loads(tekton("explain", "usage", "-o", "json").stdout)
    every = json.loads(tekton("explain", "--json").stdout)["errors"]

    assert set(one) == {"code", "title", "meaning", "causes", "advice", "status", "exit_status"}
    assert one in every
    assert len(every) == len(catalogue())


def test_a_mistyped_code_is_a_usage_error_with_a_suggestion(tekton: Any) -> None:
    result = tekton("explain", "strat_timeout")

    assert result.exit_code == 2
    assert "no error code 'strat_timeout'; did you mean 'start_timeout'?" in result.stderr


def test_an_error_without_advice_of_its_own_points_to_its_explanation(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers["GET /api/system"] = double.problem(500, "internal", "an error on our side")

    assert tekton("ps").stderr.endswith("help: tekton explain internal\n")


def test_where_to_read_on_is_a_path(tekton: Any) -> None:
    assert "docs/reference/configuration.md" in " ".join(tekton("explain", "config_invalid").stdout.split())
