"""Backups that the running control plane writes: in a thread of their own, one after the other."""

import asyncio
from pathlib import Path

from tekton.clock import Clock
from tekton.core.component_lifecycle.backup import Backup, BackupWriter
from tekton.gateway.errors import UnavailableError
from tekton.service.companions import COMPANIONS


class Backups:
    """Writes backups of *data_dir*. Neither commits nor reads wait for them."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._turn = asyncio.Lock()
        self._writer: BackupWriter | None = None
        self._stopped = False

    async def write(self, path: Path | None) -> Backup:
        """Write one to *path*, or to a new file in `backups/`; see `BackupWriter.run`.

        Raises UnavailableError when the control plane is stopping.
        """
        async with self._turn:
            if self._stopped:
                raise UnavailableError("the control plane is stopping")
            self._writer = writer = BackupWriter(self._data_dir, path, self._clock.time(), COMPANIONS)
            try:
                return await asyncio.to_thread(writer.run)
            finally:
                # A thread goes on when nobody waits for it any more.
                writer.interrupt()
                self._writer = None

    def stop(self) -> None:
        """Interrupt what is being written, and write no more."""
        self._stopped = True
        if self._writer is not None:
            self._writer.interrupt()
