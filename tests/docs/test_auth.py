"""docs/reference/auth.md: its tables are those of the code."""

from collections.abc import Callable
from typing import Any

import pytest

from tekton.auth.keys import LEEWAY, MAX_KEYS, MAX_LIFE, PUBLISH_DELAY
from tekton.auth.roles import ACTIONS, PERMISSIONS, ROLES, SCOPED
from tekton.auth.subjects import FEEDS
from tekton.auth.tokens import MAX_BYTES, MAX_ROLES

Page = Callable[[str], Any]
Names = Callable[[str], list[str]]


def test_the_permissions_are_those_of_the_code(page: Page, names: Names) -> None:
    rows = page("auth").sections(2)["Permissions"].rows()

    assert [(names(name), text, set(names(actions))) for name, text, actions in rows] == [
        ([name], text, {action for action, permission in ACTIONS.items() if permission == name})
        for name, text in PERMISSIONS.items()
    ]


def test_the_roles_are_those_of_the_code(page: Page, names: Names) -> None:
    rows = page("auth").sections(2)["Roles"].rows()

    assert {name.strip("`"): (components, set(names(granted))) for name, components, granted in rows} == {
        name: ("itself; reading: all" if role.scope == "own" else "all components", role.permissions)
        for name, role in ROLES.items()
    }


def test_what_a_limit_is_about_is_said(page: Page, names: Names) -> None:
    text = page("auth").sections(2)["Roles"].text.partition("Such a limit")[2]

    assert set(names(text)) == SCOPED


def test_the_feeds_are_those_of_the_code_with_their_permissions(page: Page, names: Names) -> None:
    rows = page("auth").sections(2)["Subjects"].rows()

    told = {subject: names(who) for subjects, _, who in rows for subject in names(subjects)}
    feeds = {feed.replace("logs.>", "logs.<id>"): [permission] for feed, permission in FEEDS.items()}
    assert {subject: who for subject, who in told.items() if subject.startswith("tekton.")} == feeds


@pytest.mark.parametrize(
    ("section", "figure"),
    [
        ("In Python", f"1 to {MAX_LIFE:,}"),
        ("What a token is", f"at most {MAX_LIFE:,} apart"),
        ("What a token is", f"at most {MAX_ROLES}"),
        ("What a token is", f"longer than {MAX_BYTES // 1024} KiB"),
        ("What a token is", f"differ by {LEEWAY}"),
        ("Keys", f"{PUBLISH_DELAY:g} seconds later"),
        ("Keys", f"At most {MAX_KEYS} keys verify"),
        ("Keys", f"{MAX_LIFE // 3600} hours and {LEEWAY} seconds later"),
    ],
)
def test_a_figure_is_that_of_the_code(page: Page, section: str, figure: str) -> None:
    assert figure in " ".join(page("auth").sections(2)[section].text.split())
