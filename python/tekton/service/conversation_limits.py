"""How many conversations there may be, and how much may be said in one."""

from dataclasses import dataclass
from typing import Self

from tekton.utils.config_rules import parse_size
from tekton.utils.tekton_config import TektonConfig


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """So many conversations may be kept that one caller has begun; one may have so many *messages*, and *size_bytes* of
    them (`AgentMessage.size_bytes`)."""

    per_owner: int = 200_000
    messages: int = 1_000_000
    size_bytes: int = 256 << 20

    @classmethod
    def of(cls, config: TektonConfig) -> Self:
        """Those of *config*."""
        return cls(
            config.max_conversations_per_owner,
            config.max_messages_per_conversation,
            parse_size(config.max_conversation_size),
        )
