"""Lists that the control plane gives out page by page."""

from collections.abc import Iterator, Mapping
from typing import Any

from tekton.cli.client import Client

PAGE = 500
"""Items of a page."""


def items(client: Client, path: str, wanted: Mapping[str, object], *, most: int | None = None) -> Iterator[Any]:
    """All items of the list at *path*, or the first *most* of them. Of what is *wanted*, None says nothing."""
    query = {name: value for name, value in wanted.items() if value is not None}
    cursor: Mapping[str, object] = {}
    left = most
    while left is None or left > 0:
        page = client.get(path, {**query, "limit": PAGE if left is None else min(PAGE, left), **cursor})
        yield from page["items"]
        if page["cursor"] is None:
            return
        cursor = {"cursor": page["cursor"]}
        left = None if left is None else left - len(page["items"])
