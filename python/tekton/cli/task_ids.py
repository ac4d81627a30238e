"""Ids of tasks, which are long: the end of one is enough, as tables show it, or the beginning."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import Client
from tekton.cli.problems import NOT_PERMITTED, exit_status
from tekton.utils.tekton_errors import TaskNotFoundError, TektonError

SHORT = 8
"""Characters of an id in a table: its end, for ids of the same minute begin alike."""
SEARCHED = 200
"""So many tasks, the newest, are looked at for one whose id is given in part; their parts, too."""

_WHOLE = 36


def short(task_id: str) -> str:
    """What a table shows of *task_id*."""
    return task_id[-SHORT:]


def task_path(task_id: str, action: str = "") -> str:
    """The path of a task in the API, or of something that belongs to it."""
    return f"/api/tasks/{quote(task_id, safe='', errors='surrogateescape')}{f'/{action}' if action else ''}"


def whole_id(client: Client, given: str) -> str:
    """The id that begins, or ends, as *given*: of one's own tasks, else of all that one may see.

    Raises TaskNotFoundError, and UsageError when it is not the only one.
    """
    if len(given) >= _WHOLE:
        return given
    found = _found(client, given, {}) or _found(client, given, {"all": "true"})
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} tasks begin or end with {given}: {', '.join(found[:3])}")
    if not found:
        raise TaskNotFoundError(given)
    return found[0]


def _found(client: Client, given: str, query: Mapping[str, object]) -> list[str]:
    wanted = given.strip("….").lower()
    try:
        latest = client.get("/api/tasks", {"limit": SEARCHED, **query})["items"]
    except TektonError as error:
        if query and exit_status(error) == NOT_PERMITTED:
            return []
        raise
    return sorted({one for one in _ids(latest) if wanted and (one.startswith(wanted) or one.endswith(wanted))})


def _ids(views: list[Any]) -> Iterator[str]:
    for view in views:
        yield view["task_id"]
        yield from (part["task_id"] for part in view["parts"])
