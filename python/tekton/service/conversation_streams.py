"""What is said in a conversation, as it is said: server-sent events, in order and without a gap.

Whoever takes part no longer is told nothing more.
"""

from collections.abc import AsyncIterator

from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.sse import EventStream, event
from tekton.service.conversations import USE, Conversations
from tekton.service.event_streams import AT_ONCE, LISTENING, RESET, in_pieces, position
from tekton.utils.tekton_errors import ConversationNotFoundError


def stream_of_conversation(
    conversations: Conversations, request: Request, conversation_id: str, after: int
) -> EventStream:
    """The messages behind number *after*, or behind the `Last-Event-ID`, and those that come; ends when it is deleted.

    Raises ConversationNotFoundError.
    """
    conversation = conversations.find(request.principal, conversation_id)
    after = position(request, after)
    known = after <= len(conversation)
    return EventStream(_events(conversations, request, conversation_id, after if known else 0, known=known))


async def _events(
    conversations: Conversations, request: Request, conversation_id: str, after: int, *, known: bool
) -> AsyncIterator[bytes]:
    yield LISTENING if known else RESET
    try:
        while True:
            conversation = conversations.find(request.principal, conversation_id)
            entries = await conversations.read(conversation, after, AT_ONCE)
            if entries:
                after = entries[-1].sequence
                for piece in in_pieces(event(one.message.to_json(), "message", one.sequence) for one in entries):
                    yield piece
            elif len(conversation) == after:
                await conversations.next_change(conversation_id)
    except ConversationNotFoundError:
        if conversations.exists(conversation_id):
            raise PermissionDeniedError(USE) from None
