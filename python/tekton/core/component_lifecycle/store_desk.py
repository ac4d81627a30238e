"""Where the store works: one thing after the other, in a thread of its own or wherever an executor does it.

Changes go there in batches, each of which is measured. What is read of the store comes from there too.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final, TypeVar

from tekton.clock import Clock
from tekton.core.audit.entry import AuditHead
from tekton.core.component_lifecycle.steps import mutation_of
from tekton.core.component_lifecycle.store import Papers, RegistryStore
from tekton.core.lifecycle import Change
from tekton.core.metrics.tally import Tally

_T = TypeVar("_T")

BATCH_SIZES: Final = (0, 1, 4, 16, 64, 256, 512)
BATCH_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class StoreDesk:
    """The desk of *store*. *executor* does one thing at a time, in the order in which it gets them.

    It is shut down by `close`. Without one, there is a thread.
    """

    def __init__(self, store: RegistryStore, executor: Executor | None, clock: Clock) -> None:
        self.store: Final = store
        self.batch_sizes: Final = Tally(BATCH_SIZES)
        """Changes of components in each batch that the store has got."""
        self.batch_seconds: Final = Tally(BATCH_SECONDS)
        """How long it took to make each batch durable."""
        self._monotonic = clock.monotonic
        self._worker = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="tekton-store")

    def write(self, changes: Sequence[Change], papers: Papers | None = None) -> "Future[AuditHead]":
        """Have *changes* made durable, with *papers*; the newest entry of the audit log then."""
        return self._worker.submit(self._write, changes, papers)

    def tidy(self) -> "Future[None]":
        """Have the store do what there is time for."""
        return self._worker.submit(self.store.tidy)

    def ask(self, question: Callable[[], _T]) -> "asyncio.Future[_T]":
        """What the store answers to *question*, which is asked there."""
        return asyncio.get_running_loop().run_in_executor(self._worker, question)

    def close(self) -> None:
        """Close the store after all that it was asked for; back when that is done."""
        self._worker.submit(self.store.close)
        self._worker.shutdown(wait=True)

    def _write(self, changes: Sequence[Change], papers: Papers | None) -> AuditHead:
        mutations = [mutation_of(change) for change in changes]
        began = self._monotonic()
        if papers is None:
            self.store.commit(mutations)
        else:
            self.store.commit(mutations, papers)
        self.batch_seconds.observe(self._monotonic() - began)
        self.batch_sizes.observe(len(changes))
        return self.store.audit_head
