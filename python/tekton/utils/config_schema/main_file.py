"""tekton.json, the main file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tekton.utils.config_places import DEFAULT_DATA_DIR
from tekton.utils.config_schema.base import Id, Schema, Seconds, Section, Text
from tekton.utils.config_schema.bus import BusSettings
from tekton.utils.config_schema.monitoring import MonitoringSettings
from tekton.utils.config_schema.security import SecuritySettings
from tekton.utils.config_schema.work import ConversationSettings, TaskSettings


class ComponentSettings(Section, frozen=True, kw_only=True):
    """`components` of the main file: what holds for all of them."""

    startup_timeout: Annotated[
        Seconds, Meta(description="Seconds within which a component must become ready, unless it says otherwise.")
    ] = 60.0
    heartbeat_interval: Annotated[Seconds, Meta(description="Seconds between the heartbeats of a component.")] = 10.0
    heartbeat_timeout: Annotated[
        Seconds, Meta(description="Seconds without a heartbeat after which a component counts as failed.")
    ] = 30.0
    auto_recover: Annotated[bool, Meta(description="Whether failed components are restarted.")] = True
    history_limit: Annotated[
        Annotated[int, Meta(ge=1_000, le=1_000_000_000)],
        Meta(description="How many past changes are kept in the database."),
    ] = 200_000


class MainSettings(Section, frozen=True, kw_only=True):
    """`tekton` of the main file."""

    host: Annotated[Text, Meta(description="Address on which the control plane listens.")] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        Meta(description="Port on which the control plane listens. 0: any free one."),
    ] = 8010
    data_dir: Annotated[Text, Meta(description="Directory of the database, the logs and the run-time files.")] = (
        DEFAULT_DATA_DIR
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Meta(description="The least severe level that is logged."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="`text` for people, `json` for one JSON object per line.")
    ] = "text"
    mdns: Annotated[
        bool, Meta(description="Whether the control plane is announced, and looked for, on the local network.")
    ] = False
    profiles: Annotated[list[Id], Meta(description="Active profiles: components that have one of them start too.")] = []
    security: SecuritySettings = SecuritySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    components: ComponentSettings = ComponentSettings()
    bus: BusSettings = BusSettings()
    tasks: TaskSettings = TaskSettings()
    conversations: ConversationSettings = ConversationSettings()


class MainFile(Section, frozen=True, kw_only=True):
    """tekton.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    tekton: MainSettings = MainSettings()
