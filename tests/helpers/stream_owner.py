"""What a writer of streams needs around it: an owner, and something to write."""

from tekton.bus.envelope import Envelope
from tekton.bus.streams.store import Batch, Committed, Progress, Put
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import StorageError

SENDER = MessageContext("ann")


class Nobody:
    """The owner of a writer, who has all streams and is not interested."""

    def has_stream(self, _: str) -> bool:
        return True

    def progress(self) -> tuple[list[Progress], list[tuple[str, int]]]:
        return [], []

    def committed(self, batch: Batch, outcome: Committed) -> None:
        pass

    def stopped(self, error: StorageError) -> None:
        pass


def said(content: object) -> Envelope:
    return Envelope("orders.new", Message("event", content, SENDER))


def put(content: object) -> Put:
    envelope = said(content)
    return Put("orders", envelope, envelope.message.to_json(), 0.0)
