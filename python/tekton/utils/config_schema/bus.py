"""`bus` of the main file: the streams of messages."""

from typing import Annotated

from msgspec import Meta

from tekton.utils.config_rules import check_stored
from tekton.utils.config_schema.base import Section, Size, StreamName


class StreamSpec(Section, frozen=True, kw_only=True):
    """A stream in tekton.json: what it takes, and how long it keeps that. The limit reached first drops the oldest."""

    subjects: Annotated[
        list[Annotated[str, Meta(extra={"check": check_stored})]],
        Meta(min_length=1, description="Patterns of the subjects that it keeps, such as `orders.>`."),
    ]
    max_messages: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)], Meta(description="How many messages it has at most.")
    ] = 1_000_000
    max_bytes: Annotated[Size, Meta(description="What they take together, in bytes or as in `256M`.")] = "256M"
    max_age: Annotated[
        Annotated[float, Meta(gt=0, le=315_360_000)], Meta(description="Seconds for which a message is kept.")
    ] = 604_800.0
    dedupe_window: Annotated[
        Annotated[float, Meta(ge=0, le=604_800)],
        Meta(description="Seconds in which a message with the same id is not stored again."),
    ] = 120.0
    work_queue: Annotated[
        bool, Meta(description="Whether a message goes when it was acknowledged, and each subject has one consumer.")
    ] = False


class BusSettings(Section, frozen=True, kw_only=True):
    """`bus` of the main file: the streams of messages."""

    enable_streams: Annotated[
        bool, Meta(description="Whether there are streams, in bus.db. Without them messages are only passed on.")
    ] = True
    streams_size: Annotated[
        Size, Meta(description="What all streams may take together: the sum of their `max_bytes`. As in `8G`.")
    ] = "8G"
    streams: Annotated[dict[StreamName, StreamSpec], Meta(description="Streams that are always there, by name.")] = {}
