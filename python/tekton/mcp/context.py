"""The context of a message: who says it to whom, in which trace, caused by what, and until when it matters."""

from tekton._native import MessageContext

__all__ = ["MessageContext"]
