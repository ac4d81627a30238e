"""A long conversation on the disk: what it takes in memory is what a page of it takes, however long it is.

`TEKTON_CONVERSATION_MESSAGES` sets how many messages it has (3,000; 100,000 by hand).
"""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from tekton.a2a.conversation import Conversation
from tekton.a2a.message import AgentMessage
from tekton.a2a.work.work_store import FILE_NAME, WorkStore

LONG = int(os.environ.get("TEKTON_CONVERSATION_MESSAGES", "3000"))
TEXT = "x" * 2000
PAGE = 500


async def _written(directory: Path) -> None:
    store = await WorkStore.open(directory / FILE_NAME)
    talk = Conversation("talk", "ada", ["ada"], store=store.conversations)
    for number in range(LONG):
        talk.add_message(AgentMessage("ada", f"{number} {TEXT}", {"newest": number}))
        if number % PAGE == PAGE - 1:
            await talk.flush()
    await store.close()


def _most(read: Callable[[], object]) -> int:
    """Bytes that are taken at the most while *read* runs, beside what there is before."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    read()
    return tracemalloc.get_traced_memory()[1] - before


async def test_reading_all_of_a_long_conversation_takes_as_much_memory_as_a_page_of_it(tmp_path: Path) -> None:
    await _written(tmp_path)
    store = await WorkStore.open(tmp_path / FILE_NAME)
    talk = Conversation.resume("talk", store.conversations)

    def all_pages() -> None:
        number = 0
        after: int | None = 0
        while after is not None:
            entries, after = talk.page(after, PAGE)
            for entry in entries:
                assert str(entry.message.content).startswith(f"{number} ")
                number += 1
        assert number == LONG

    def export() -> None:
        assert sum(map(len, talk.export("markdown"))) > LONG * len(TEXT)

    talk.page(0, PAGE)
    tracemalloc.start()
    try:
        page = _most(lambda: talk.page(0, PAGE))
        pages, exported, summary = _most(all_pages), _most(export), _most(talk.generate_summary)
    finally:
        tracemalloc.stop()
    await store.close()

    told = {"a page": page, "all pages": pages, "the export": exported, "the summary": summary}
    print(f"{LONG} messages:", ", ".join(f"{what} {size >> 10} KiB" for what, size in told.items()))
    assert PAGE * len(TEXT) < page < PAGE * len(TEXT) * 4
    assert pages < 2 * page
    assert exported < 5 * page, "it reads two of these pages at a time"
