"""The messages of Agent2Agent 1.0, as they are in a2a.proto, as far as they are sent or received here.

They are encoded as ProtoJSON: names in camelCase, no members that have their default, enums by name, bytes in base64.
`protojson` reads them. A member that is one of several (`oneof`) is UNSET where it is another.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tekton.service.edge.a2a.protojson import Time

PROTOCOL_VERSION = "1.0"

encode = msgspec.json.Encoder().encode


def timestamp(seconds: float) -> str:
    """*seconds* since 1970 as the protocol writes a time: UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Wire(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A message of the protocol."""


class Role(StrEnum):
    """Who says something; in the order of its numbers."""

    UNSPECIFIED = "ROLE_UNSPECIFIED"
    USER = "ROLE_USER"
    AGENT = "ROLE_AGENT"


class State(StrEnum):
    """Where a task is; in the order of its numbers."""

    UNSPECIFIED = "TASK_STATE_UNSPECIFIED"
    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"


class Part(Wire, frozen=True):
    """A piece of content: a text, bytes, where they are, or JSON."""

    text: str | UnsetType = UNSET
    raw: bytes | UnsetType = UNSET
    url: str | UnsetType = UNSET
    data: Any = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    filename: str = ""
    media_type: str = ""

    def __post_init__(self) -> None:
        text, raw, url, data = self.text is UNSET, self.raw is UNSET, self.url is UNSET, self.data is UNSET
        if text + raw + url + data < 3:
            raise ValueError("a part has one of text, raw, url and data")


class Message(Wire, frozen=True):
    """What somebody says."""

    message_id: str = ""
    context_id: str = ""
    task_id: str = ""
    role: Role = Role.UNSPECIFIED
    parts: list[Part] = []
    metadata: dict[str, Any] | UnsetType = UNSET
    extensions: list[str] = []
    reference_task_ids: list[str] = []


class Artifact(Wire, frozen=True):
    """What was made."""

    artifact_id: str
    parts: list[Part]
    name: str = ""


class TaskStatus(Wire, frozen=True):
    """Where a task is, and what is to be said of that."""

    state: State
    message: Message | UnsetType = UNSET
    timestamp: str = ""


class TaskObject(Wire, frozen=True):
    """A task."""

    id: str
    status: TaskStatus
    context_id: str = ""
    artifacts: list[Artifact] | UnsetType = UNSET
    history: list[Message] = []
    metadata: dict[str, Any] | UnsetType = UNSET


class StatusUpdate(Wire, frozen=True):
    """A task is somewhere else now."""

    task_id: str
    context_id: str
    status: TaskStatus
    metadata: dict[str, Any] | UnsetType = UNSET


class ArtifactUpdate(Wire, frozen=True):
    """Something was made."""

    task_id: str
    context_id: str
    artifact: Artifact
    last_chunk: bool = False


class StreamResponse(Wire, frozen=True):
    """One event of a stream, or of a push; also the answer to SendMessage."""

    task: TaskObject | UnsetType = UNSET
    status_update: StatusUpdate | UnsetType = UNSET
    artifact_update: ArtifactUpdate | UnsetType = UNSET


class Authentication(Wire, frozen=True):
    """What a webhook wants to be shown."""

    scheme: str = ""
    credentials: str = ""


class PushNotificationConfig(Wire, frozen=True):
    """Who wants to be told of a task at a URL of his own (TaskPushNotificationConfig)."""

    id: str = ""
    task_id: str = ""
    url: str = ""
    token: str = ""
    authentication: Authentication | UnsetType = UNSET


class PushNotificationConfigs(Wire, frozen=True):
    """The answer to ListTaskPushNotificationConfigs."""

    configs: list[PushNotificationConfig]
    next_page_token: str = ""


class SendMessageConfiguration(Wire, frozen=True):
    """How a message is to be answered."""

    accepted_output_modes: list[str] = []
    task_push_notification_config: PushNotificationConfig | None = None
    history_length: int | None = None
    return_immediately: bool = False


class SendMessageRequest(Wire, frozen=True):
    """The parameters of SendMessage and SendStreamingMessage."""

    message: Message | None = None
    configuration: SendMessageConfiguration = SendMessageConfiguration()
    metadata: dict[str, Any] | UnsetType = UNSET


class TaskRequest(Wire, frozen=True):
    """The parameters of GetTask, CancelTask and SubscribeToTask."""

    id: str = ""
    history_length: int | None = None


class ListTasksRequest(Wire, frozen=True):
    """The parameters of ListTasks."""

    context_id: str = ""
    status: State = State.UNSPECIFIED
    page_size: int | None = None
    page_token: str = ""
    history_length: int | None = None
    status_timestamp_after: Time | None = None
    include_artifacts: bool = False


class TaskList(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to ListTasks, of which every member is always there."""

    tasks: list[TaskObject]
    next_page_token: str
    page_size: int
    total_size: int


class ConfigRequest(Wire, frozen=True):
    """The parameters of what is about one push configuration of a task."""

    task_id: str = ""
    id: str = ""


class ConfigsRequest(Wire, frozen=True):
    """The parameters of ListTaskPushNotificationConfigs."""

    task_id: str = ""
    page_size: int | None = None
    page_token: str = ""


class NoParameters(Wire, frozen=True):
    """The parameters of GetExtendedAgentCard."""
