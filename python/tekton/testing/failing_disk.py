"""A disk whose operations fail when they are told to.

    disk = FailingDisk("failing")
    store = SqliteStreamStore(path, vfs=disk.name, exclusive=True)
    disk.sync_fails = True

Files on it cannot share memory: whoever uses it has to do without (`exclusive`).
"""

import apsw

from tekton.core.component_lifecycle import database

__all__ = ["FailingDisk"]


class FailingDisk(apsw.VFS):
    """Passes everything on to the checksummed files, until it is told which operation fails how.

    While `sync_fails`, syncs do; while `write_fails` is a code of SQLite, writes do. `syncs` counts. To be
    `unregister`ed.
    """

    def __init__(self, name: str) -> None:
        database.load_checksums()
        self.name = name
        self.sync_fails = False
        self.write_fails = 0
        self.syncs = 0
        super().__init__(name, database.CHECKSUM_VFS)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """See apsw.VFS."""
        return _FailingFile(self, name, flags)


class _FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(database.CHECKSUM_VFS, name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.syncs += 1
        if self._disk.sync_fails:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.write_fails:
            raise apsw.exception_for(self._disk.write_fails)
        super().xWrite(data, offset)
