"""SECURITY.md and docs/concepts/security.md: each risk has an answer and tests, and the figures are those of the code.

That the tests which are named exist is checked for all pages in `test_docs.py`.
"""

import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.gateway.app import Gateway
from tekton.gateway.server import HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_HEAD_BYTES
from tekton.gateway.sockets import MAX_MESSAGE
from tekton.utils.config_schema import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
POLICY = " ".join((ROOT / "SECURITY.md").read_text().split())

Page = Callable[[str], Any]
Names = Callable[[str], list[str]]

RISKS = [
    "API1 Broken object level authorization",
    "API2 Broken authentication",
    "API3 Broken object property level authorization",
    "API4 Unrestricted resource consumption",
    "API5 Broken function level authorization",
    "API6 Unrestricted access to sensitive business flows",
    "API7 Server side request forgery",
    "API8 Security misconfiguration",
    "API9 Improper inventory management",
    "API10 Unsafe consumption of APIs",
]
"""OWASP API Security Top 10, 2023."""


@pytest.fixture
def rows(page: Page) -> list[list[str]]:
    return list(page("../concepts/security").sections(2)["The OWASP API Security Top 10"].rows())


def test_every_risk_of_the_list_has_its_row(rows: list[list[str]]) -> None:
    assert [risk for risk, _, _ in rows] == RISKS


def test_every_risk_has_an_answer_and_tests_that_show_it(rows: list[list[str]], names: Names) -> None:
    for risk, answer, tests in rows:
        assert len(answer) > 40, risk
        assert len([name for name in names(tests) if name.startswith("test_")]) >= 3, risk


def setting(name: str) -> Any:
    return next(one.default for one in SETTINGS if one.name == f"tekton.security.{name}")


@pytest.mark.parametrize(
    "figure",
    [
        f"{MAX_CONNECTIONS:,} are served at a time",
        f"closed after {HEADER_TIMEOUT:g} s",
        f"after {MAX_HEAD_BYTES // 1024} KiB, {2 * MAX_HEAD_BYTES // 1024} KiB at most",
        f"Our limit of {MAX_MESSAGE // 1024} KiB",
        f"`max_streams_per_caller` ({setting('max_streams_per_caller')})",
        f"{inspect.signature(Gateway).parameters['body_timeout'].default:g} s, and the connection is closed",
    ],
)
def test_a_figure_of_the_policy_is_that_of_the_code(figure: str) -> None:
    assert figure in POLICY


def test_what_was_measured_is_the_server_that_is_required() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    measured = re.search(r"Measured with version ([\d.]+\d)", POLICY)

    assert measured
    assert f"granian>={measured[1]}" in dependencies


def test_the_settings_that_the_policy_names_exist(names: Names) -> None:
    known = {one.name.rpartition(".")[2] for one in SETTINGS}
    named = {name.partition(":")[0] for name in names(POLICY) if re.fullmatch(r"[a-z]+(_[a-z]+)+(: \w+)?", name)}

    assert {"enable_auth", "trusted_proxies"} <= named <= known
