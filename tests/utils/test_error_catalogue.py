"""The catalogue of error codes; that it is complete is shown in tests/docs/test_errors.py."""

import subprocess
import sys

from tekton.utils.error_catalogue import catalogue, plain


def test_an_entry_is_found_by_its_code() -> None:
    entry = catalogue()["port_in_use"]

    assert (entry.code, entry.status, entry.exit_status) == ("port_in_use", 409, 6)
    assert entry.causes


def test_what_only_the_command_line_reports_has_no_http_status() -> None:
    assert catalogue()["usage"].status is None


def test_links_and_line_breaks_are_taken_out_for_a_terminal() -> None:
    assert plain("the [lifecycle](../a.md#b)\nhas `no` step") == "the lifecycle has `no` step"


def test_it_is_not_read_before_something_goes_wrong() -> None:
    code = "import sys, tekton.cli.app; print(sorted({'tomllib', 'tekton.utils.error_catalogue'} & sys.modules.keys()))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=30) == "[]\n"
