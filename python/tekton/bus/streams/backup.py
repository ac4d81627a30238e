"""The file of the streams as part of a backup."""

from typing import Final

from tekton.bus.streams.sqlite_store import FILE_NAME
from tekton.bus.streams.stream_sql import APPLICATION_ID, MIGRATIONS, STORED
from tekton.core.component_lifecycle.companion import Companion

STREAMS: Final = Companion(FILE_NAME, "bus", APPLICATION_ID, MIGRATIONS, "message", STORED)
