"""Components that are added while the system runs, beside those of the configuration.

They live as long as the run: a control plane that replaces a crashed one finds them in `run/adhoc.json`, which its
owner alone can read (environments hold secrets), and an orderly stop forgets them. The file is changed before what it
describes is started, and after it has been stopped, so that a process is never without its description.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tekton.service.private_file import write_privately
from tekton.utils.tekton_config import ComponentSpec


class AdHocContents(msgspec.Struct, frozen=True):
    """What the file holds. `run_id` is the guard's: with another guard, nothing of it runs any more."""

    run_id: str
    components: list[ComponentSpec]


class AdHocFile:
    """The file *path* of the run *run_id*. Its methods block for as long as the disk does."""

    def __init__(self, path: Path, run_id: str) -> None:
        self._path = path
        self._run_id = run_id

    def load(self) -> dict[str, ComponentSpec]:
        """The components by id; none when the file is of another run, or there is none that can be read."""
        try:
            contents = msgspec.json.decode(self._path.read_bytes(), type=AdHocContents)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return {spec.name: spec for spec in contents.components} if contents.run_id == self._run_id else {}

    def save(self, components: Mapping[str, ComponentSpec]) -> None:
        """Keep *components*: all of them durably, or (OSError) what was kept before."""
        write_privately(self._path, msgspec.json.encode(AdHocContents(self._run_id, list(components.values()))))

    def discard(self) -> None:
        """Forget all of them."""
        self._path.unlink(missing_ok=True)


class AdHoc:
    """The components that were added, and the file that keeps them."""

    def __init__(self, file: AdHocFile) -> None:
        self._file = file
        self.specs: dict[str, ComponentSpec] = file.load()
        if not self.specs:
            file.discard()  # what an earlier run has left

    async def keep(self, spec: ComponentSpec) -> None:
        """Add or replace one. Raises OSError; then nothing has changed."""
        await self._save({**self.specs, spec.name: spec})

    async def forget(self, component_id: str) -> None:
        """Leave one out. Raises OSError; then nothing has changed."""
        if component_id in self.specs:
            await self._save({name: spec for name, spec in self.specs.items() if name != component_id})

    def discard(self) -> None:
        """Forget all of them: the run ends."""
        self._file.discard()
        self.specs = {}

    async def _save(self, specs: dict[str, ComponentSpec]) -> None:
        await asyncio.to_thread(self._file.save, specs)
        self.specs = specs
