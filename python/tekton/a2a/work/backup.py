"""The file of the work as part of a backup."""

from typing import Final

from tekton.a2a.work.work_sql import APPLICATION_ID, CHANGES, FILE_NAME, MIGRATIONS
from tekton.core.component_lifecycle.companion import Companion

WORK: Final = Companion(FILE_NAME, "work", APPLICATION_ID, MIGRATIONS, "change", CHANGES)
