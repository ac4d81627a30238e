"""What the programs that cut the power under a store have in common: the life of a disk, and a campaign of such lives.

    sys.exit(campaign(__doc__, Life, cuts_per_life=20))

They are programs of their own because the simulated disk has to be SQLite's default file system before the checksum
layer is loaded over it. Each seed is a life of one disk: several cuts one after another, each at a random operation of
the store. After each, every acknowledged batch must be there, and the batch that was under way must be there wholly or
not at all. An in-memory store that gets the same batches says what "there" means.
"""

import argparse
import json
import logging
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Generic, Protocol, TypeVar

from tekton.core.component_lifecycle import log_keeper
from tekton.testing.powercut import PowerCutDisk
from tekton.utils.tekton_errors import StorageCorruptError, StorageError


class Closing(Protocol):
    """A store, as far as this file needs it."""

    def close(self) -> None:
        """Close it. Closing one that is closed, or was never opened, does nothing."""


Batch = TypeVar("Batch")
Contents = TypeVar("Contents")
Store = TypeVar("Store", bound=Closing)


class ViolationError(Exception):
    """The store broke its promise."""


class Life(ABC, Generic[Store, Batch, Contents]):
    """One disk, from empty until its last power cut. `doing` is what the store was at when the power went off."""

    def __init__(self, disk: PowerCutDisk, directory: Path, seed: int, *, nothing: Batch) -> None:
        self.disk = disk
        self.directory = directory
        self.rng = Random(seed)
        self.nothing = nothing
        self.acknowledged: list[Batch] = []
        self.underway = nothing
        self.doing = "nothing"
        log_keeper.IDLE_PAGES = self.rng.choice((1, 30, 200))
        log_keeper.BUSY_PAGES = 2 * log_keeper.IDLE_PAGES
        disk.clear(seed)
        disk.powersafe = self.rng.random() < 0.5

    @abstractmethod
    def make_store(self) -> Store:
        """A store on the disk, not open yet."""

    @abstractmethod
    def open(self, store: Store) -> None:
        """Open *store*."""

    @abstractmethod
    def make_batch(self) -> Batch:
        """The next batch."""

    @abstractmethod
    def commit(self, store: Store, batch: Batch) -> None:
        """Commit *batch*; when this returns it is acknowledged."""

    @abstractmethod
    def rest(self, store: Store) -> None:
        """What is done now and then between two batches."""

    @abstractmethod
    def found(self) -> Contents:
        """What the disk holds now."""

    @abstractmethod
    def expected(self, batches: Sequence[Batch]) -> Contents:
        """What an in-memory store holds after *batches*."""

    def as_visible(self, expected: Contents, _found: Contents) -> Contents:
        """*expected*, without what the store may have forgotten."""
        return expected

    def run_until_cut(self) -> None:
        """Use the store until the power goes off, somewhere."""
        self.disk.cut_after(self.rng.randrange(1, self.rng.choice((12, 60, 400))))
        store = self.make_store()
        try:
            while not self.disk.off:
                self.doing = "opening"
                self.open(store)
                self.commit_some(store)
                self.doing = "closing"
                store.close()
        except StorageError:
            if not self.disk.off:
                raise
        finally:
            store.close()

    def commit_some(self, store: Store) -> None:
        """A few batches, one after another."""
        for _ in range(self.rng.randrange(1, 80)):
            self.doing = "committing"
            self.underway = self.make_batch()
            self.commit(store, self.underway)
            self.acknowledged.append(self.underway)
            self.underway = self.nothing
            self.rest(store)

    def lose_power(self) -> None:
        """What was not synced is lost, or not, or in part."""
        self.disk.lose_power(self.rng)

    def verify(self) -> Contents:
        """Compare what is there with what must be; returns it. Raises ViolationError."""
        found = self.found()
        without, complete = (
            self.as_visible(self.expected(batches), found)
            for batches in (self.acknowledged, [*self.acknowledged, self.underway])
        )
        if found not in (without, complete):
            raise ViolationError(f"neither {len(self.acknowledged)} batches nor those and the one under way")
        if found == complete:
            self.acknowledged.append(self.underway)
        self.underway = self.nothing
        return found


MakeLife = Callable[[PowerCutDisk, Path, int], Life[Store, Batch, Contents]]


class Campaign:
    """Counts how power cuts have ended, and what was being done at each."""

    def __init__(self, disk: PowerCutDisk) -> None:
        self.disk = disk
        self.outcomes: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, make_life: MakeLife[Store, Batch, Contents], seed: int, cuts: int) -> None:
        """Live through up to *cuts* power cuts."""
        with tempfile.TemporaryDirectory() as directory:
            life = make_life(self.disk, Path(directory), seed)
            try:
                for _ in range(cuts):
                    if not self.survives(life):
                        return
            except (ViolationError, StorageError) as error:
                self.violations.append(f"seed {seed}: {error}")

    def survives(self, life: Life[Store, Batch, Contents]) -> bool:
        """One cut. False when the store has noticed that a disk that lies has lost something."""
        try:
            # A lie may come out only when the page that it has cost is used again.
            life.run_until_cut()
            self.places[life.doing] += 1
            life.lose_power()
            life.verify()
        except StorageCorruptError as error:
            if not self.disk.lies:
                raise ViolationError(f"refused after an honest power cut: {error}") from error
            self.outcomes["detected"] += 1
            return False
        self.outcomes["whole"] += 1
        return True

    def report(self) -> dict[str, object]:
        """What is printed."""
        counts = {**self.outcomes, "while": self.places, "operations": self.disk.operations}
        return {**counts, "violations": self.violations}


def campaign(
    about: str | None, make_life: MakeLife[Store, Batch, Contents], *, cuts_per_life: int, may_lie: bool = False
) -> int:
    """Cut the power as the command line asks for, print JSON, return the exit status: 1 if a promise was broken.

    With *may_lie* there is `--lies`: so often a sync is skipped, and the store must notice what that has cost.
    """
    arguments = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cuts", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    if may_lie:
        arguments.add_argument("--lies", type=float, default=0.0)
    options = arguments.parse_args()
    logging.disable()
    disk = PowerCutDisk("simulated", default=True)
    disk.lies = options.lies if may_lie else 0.0
    cuts = Campaign(disk)
    seed = options.seed
    while cuts.outcomes.total() + len(cuts.violations) < options.cuts:
        cuts.run(make_life, seed, cuts_per_life)
        seed += 1
    print(json.dumps(cuts.report()))
    return 1 if cuts.violations else 0
