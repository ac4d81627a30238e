"""`tasks` and `conversations` of the main file: how many there may be, and how long they are kept."""

from typing import Annotated

from msgspec import Meta

from tekton.utils.config_schema.base import Seconds, Section, Size


class TaskSettings(Section, frozen=True, kw_only=True):
    """`tasks` of the main file: how many there may be, and how long those that are over are kept."""

    task_age: Annotated[Seconds, Meta(description="Seconds for which a task that is over is kept.")] = 604_800.0
    task_limit: Annotated[
        Annotated[int, Meta(ge=0, le=10_000_000)],
        Meta(description="How many tasks that are over are kept, parts of others included."),
    ] = 100_000
    max_open_tasks: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)], Meta(description="How many tasks may be open at a time.")
    ] = 10_000
    max_open_tasks_per_owner: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)], Meta(description="How many of these may be of one owner.")
    ] = 1_000
    max_open_size: Annotated[
        Size, Meta(description="What open tasks may take in memory: inputs, results of steps, artifacts. As in `1G`.")
    ] = "1G"
    max_open_size_per_owner: Annotated[Size, Meta(description="What those of one owner may take of it.")] = "256M"
    agent_lease: Annotated[
        Annotated[float, Meta(ge=3, le=3600)],
        Meta(description="Seconds without a report after which an agent of a component is lost."),
    ] = 30.0


class ConversationSettings(Section, frozen=True, kw_only=True):
    """`conversations` of the main file: how many there may be, how large, and how long they are kept."""

    conversation_age: Annotated[
        Seconds | None,
        Meta(description="Seconds for which one is kept in which nobody says anything. None: until it is deleted."),
    ] = None
    max_conversations_per_owner: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        Meta(description="How many are kept that one caller has begun."),
    ] = 200_000
    max_messages_per_conversation: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)], Meta(description="How many messages one may have.")
    ] = 1_000_000
    max_conversation_size: Annotated[
        Size, Meta(description="What the messages of one may take together, in bytes or as in `256M`.")
    ] = "256M"
