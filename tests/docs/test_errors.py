"""docs/reference/errors.md and the catalogue have every error, as it is."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from load_script import load_script

from tekton.cli import problems as command_line
from tekton.gateway import errors as gateway_errors
from tekton.gateway.problems import status_of, to_problem
from tekton.utils.error_catalogue import catalogue
from tekton.utils.tekton_errors import ComponentNotFoundError, ProblemError, TektonError

errors_page = load_script(Path(__file__).with_name("errors_page.py"))
each_class = pytest.mark.parametrize("kind", errors_page.error_classes(), ids=lambda kind: kind.__name__)

OF_THE_COMMAND_LINE = {
    "timed_out",
    "control_plane_failed",
    "in_use",
    "http_error",
    "file_problem",
    "path_taken",
    "dead_letter_not_found",
    "usage",
}


@each_class
def test_an_error_class_is_in_the_catalogue_with_its_status(kind: type[TektonError]) -> None:
    assert catalogue()[kind.code].status == status_of(errors_page.sample(kind))


def test_no_code_is_in_the_catalogue_that_does_not_exist() -> None:
    raised = {kind.code for kind in errors_page.error_classes()}

    assert sorted(catalogue()) == sorted(raised | OF_THE_COMMAND_LINE)


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.code)
def test_an_entry_says_what_it_means_and_what_to_do(entry: Any) -> None:
    assert entry.title[0].isupper()
    assert not entry.title.endswith(".")
    assert entry.meaning.endswith((".", "?"))
    assert entry.advice.endswith(".")
    assert all(cause.endswith(".") for cause in entry.causes)


def test_the_page_is_made_from_the_catalogue() -> None:
    text = errors_page.PAGE.read_text()

    assert errors_page.with_current_entries(text) == text, "run python tests/docs/errors_page.py"


def test_the_example_is_what_is_sent(page: Callable[[str], Any]) -> None:
    error = ComponentNotFoundError("biling", "billing")

    assert page("errors").examples() == [json.loads(to_problem(error, "/api/components/biling"))]


@each_class
def test_the_exit_status_is_that_of_the_catalogue(kind: type[TektonError]) -> None:
    error = errors_page.sample(kind)
    if kind.__module__ == gateway_errors.__name__:
        # The command line does not load the gateway, so that these arrive as what they are for a client.
        error = ProblemError(status_of(error), error.code, str(error))

    assert command_line.exit_status(error) == catalogue()[kind.code].exit_status


def test_commands_in_the_catalogue_are_real() -> None:
    from tekton.cli.app import VERBS

    texts = [text for entry in catalogue().values() for text in (entry.meaning, entry.advice, *entry.causes)]
    named = {verb for text in texts for verb in re.findall(r"`tekton ([a-z][a-z-]*)", text)}

    assert named
    assert named <= set(VERBS)
