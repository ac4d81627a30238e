"""The root of the tree."""

__all__ = [
    "TektonError",
]


class TektonError(Exception):
    """Base of every error that Tekton raises on purpose.

    `relayed` marks what another component has answered to a call of ours: whoever gets it from us need not try again.
    """

    code: str = "internal"
    hint: str | None = None
    relayed: bool = False
