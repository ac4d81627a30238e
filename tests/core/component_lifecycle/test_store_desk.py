"""Where the store works: one thing after the other, and measured."""

from tekton.clock import SYSTEM_CLOCK
from tekton.core.attribution import TEKTON
from tekton.core.audit.entry import draft
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle.store import MemoryStore, Papers
from tekton.core.component_lifecycle.store_desk import StoreDesk

NOTE = draft(0.0, TEKTON, "test", "x")


async def test_what_is_asked_is_answered_after_all_that_was_written_before() -> None:
    store = MemoryStore()
    store.open()
    desk = StoreDesk(store, None, SYSTEM_CLOCK)

    first, second = desk.write([], Papers([NOTE])), desk.write([], Papers([NOTE, NOTE]))
    page = await desk.ask(lambda: store.read_audit(AuditQuery(), 10, None))
    desk.close()

    assert [entry.seq for entry in page.entries] == [3, 2, 1]
    assert (first.result().seq, second.result().seq) == (1, 3)


async def test_each_batch_is_counted_with_its_size_and_its_time() -> None:
    store = MemoryStore()
    store.open()
    desk = StoreDesk(store, None, SYSTEM_CLOCK)

    desk.write([])
    desk.write([], Papers([NOTE]))
    desk.close()

    assert (desk.batch_sizes.read().count, desk.batch_sizes.read().sum) == (2, 0.0)
    assert desk.batch_seconds.read().count == 2
