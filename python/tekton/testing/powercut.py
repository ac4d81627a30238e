"""A disk in memory that loses its power: for proving what a database keeps.

`PowerCutDisk` is a SQLite VFS. It keeps what was written apart from what was synced. `lose_power` then does what a
real disk may do to the former: each write since the last sync of its file is kept, lost, or torn at a sector, whatever
the order. A run is repeated exactly by giving the same seed to the generator of random numbers.

    disk = PowerCutDisk("simulated")
    disk.cut_after(operations=57)
    ...                                 # use the database until a PowerCut comes out
    disk.lose_power(random.Random(seed))
    ...                                 # open it again and look

The files have no shared memory: open databases in exclusive locking mode. To have the checksum VFS on top, make the
disk SQLite's default (`default=True`) before that is loaded, in a process of its own.
"""

# ruff: noqa: N802 (the names of the methods are SQLite's)

import os
from dataclasses import dataclass, field
from random import Random

import apsw

SECTOR = 512
_SPARED, _TORN = 0.5, 0.4


class PowerCut(apsw.IOError):
    """The power went off during this operation, or before it."""


@dataclass(slots=True)
class _Write:
    offset: int
    data: bytes

    def apply(self, image: bytearray) -> None:
        end = self.offset + len(self.data)
        if len(image) < end:
            image.extend(bytes(end - len(image)))
        image[self.offset : end] = self.data

    def torn(self, rng: Random) -> "_Write":
        return _Write(self.offset, self.data[: rng.randrange(len(self.data) // SECTOR + 1) * SECTOR])


@dataclass(slots=True)
class _Truncation:
    size: int

    def apply(self, image: bytearray) -> None:
        del image[self.size :]


@dataclass(slots=True)
class _File:
    """`durable` is on the platter, `current` is what readers see, `unsynced` leads from one to the other."""

    durable: bytearray = field(default_factory=bytearray)
    current: bytearray = field(default_factory=bytearray)
    unsynced: list[_Write | _Truncation] = field(default_factory=list)

    def change(self, change: _Write | _Truncation) -> None:
        change.apply(self.current)
        self.unsynced.append(change)

    def sync(self) -> None:
        self.durable = bytearray(self.current)
        self.unsynced.clear()

    def after_power_loss(self, rng: Random) -> "_File":
        image = bytearray(self.durable)
        for change in self.unsynced:
            if rng.random() < _SPARED:
                continue
            torn = isinstance(change, _Write) and len(change.data) > SECTOR and rng.random() < _TORN
            (change.torn(rng) if torn and isinstance(change, _Write) else change).apply(image)
        return _File(bytearray(image), image)


class PowerCutDisk(apsw.VFS):
    """A SQLite VFS called *name*, with no files at first.

    `powersafe` says whether the disk promises that a torn write damages nothing outside itself, as SQLite assumes of
    ordinary disks. With `lies` above 0, that share of the syncs does nothing, as on a dishonest disk.
    """

    def __init__(self, name: str, *, default: bool = False) -> None:
        super().__init__(name, "", makedefault=default)
        self.files: dict[str, _File] = {}
        self.operations = 0
        self.powersafe = True
        self.lies = 0.0
        self._cut: int | None = None
        self._rng = Random(0)

    def clear(self, seed: int = 0) -> None:
        """An empty disk with its power on. *seed* decides which syncs are lies."""
        self.files.clear()
        self._cut = None
        self._rng = Random(seed)

    def cut_after(self, operations: int) -> None:
        """Cut the power at the *operations*-th change or sync from now."""
        self._cut = self.operations + operations

    def content(self, path: str | os.PathLike[str]) -> bytes:
        """What a reader of the file at *path* sees; nothing when there is none."""
        file = self.files.get(os.fspath(path))
        return bytes(file.current) if file is not None else b""

    @property
    def off(self) -> bool:
        """True when the power has been cut."""
        return self._cut is not None and self.operations >= self._cut

    def lose_power(self, rng: Random) -> None:
        """Leave of each file what a disk may leave, and turn the power on again. Nothing may be open."""
        self.files = {name: file.after_power_loss(rng) for name, file in self.files.items()}
        self._cut = None

    def operate(self) -> None:
        """Count a change of the disk. Raises PowerCut when the power is off."""
        if not self.off:
            self.operations += 1
        if self.off:
            raise PowerCut("the power was cut")

    def sync(self, file: _File) -> None:
        """Make *file* durable, unless this is one of the lies."""
        self.operate()
        if self._rng.random() >= self.lies:
            file.sync()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        filename = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        flags[1] = flags[0]
        return _OpenFile(self, self.files.setdefault(filename, _File()))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002
        self.operate()
        self.files.pop(filename, None)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002
        return pathname in self.files

    def xFullPathname(self, name: str) -> str:
        return name


class _OpenFile(apsw.VFSFile):
    def __init__(self, disk: PowerCutDisk, file: _File) -> None:
        # The base class would open a real file.
        self._disk = disk
        self._file = file

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._file.current[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.operate()
        self._file.change(_Write(offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._disk.operate()
        self._file.change(_Truncation(newsize))

    def xSync(self, flags: int) -> None:  # noqa: ARG002
        self._disk.sync(self._file)

    def xFileSize(self) -> int:
        return len(self._file.current)

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        pass

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE if self._disk.powersafe else 0

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002
        return False
