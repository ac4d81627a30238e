"""dependencies.json: what a component waits for."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tekton.utils.config_schema.base import Id, Schema, Section


class DependencySpec(Section, frozen=True, kw_only=True):
    """What a component waits for: `ready` (usable), `started` (it runs) or `completed` (it ran and ended well)."""

    component: Id
    condition: Literal["ready", "started", "completed"] = "ready"


class DependenciesFile(Section, frozen=True, kw_only=True):
    """dependencies.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    dependencies: Annotated[
        dict[Id, list[Id | DependencySpec]], Meta(description="What each component depends on, by component id.")
    ] = {}
