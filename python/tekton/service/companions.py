"""The databases that a backup has beside that of the registry, and that a restore brings back with it."""

from collections.abc import Sequence
from typing import Final

from tekton.a2a.work.backup import WORK
from tekton.bus.streams.backup import STREAMS
from tekton.core.component_lifecycle.companion import Companion

COMPANIONS: Final[Sequence[Companion]] = (STREAMS, WORK)
