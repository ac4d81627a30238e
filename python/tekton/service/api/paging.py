"""Pages of lists whose items may be large: a page ends at a number of items, or of bytes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from tekton.gateway.request import Response, encode

PAGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes after which a page ends, however many items it may have."""

Item = tuple[str | int, bytes]
"""Where one item is, for who wants to go on behind it, and the item as JSON."""


async def page_of(items: AsyncGenerator[Item, None], limit: int) -> Response:
    """The first *limit* of *items*, not more than PAGE_BYTES but for the last one; the cursor, if there are others."""
    page, size, last = list[bytes](), 0, None
    async with aclosing(items):
        async for place, item in items:
            if len(page) >= limit or size >= PAGE_BYTES:
                return _answer(page, last)
            page.append(item)
            last, size = place, size + len(item)
    return _answer(page, None)


def _answer(page: list[bytes], cursor: str | int | None) -> Response:
    return Response(body=b'{"items":[%b],"cursor":%b}' % (b",".join(page), encode(cursor)))
