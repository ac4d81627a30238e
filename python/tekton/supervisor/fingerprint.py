"""Whether what runs is still what is wanted: the fingerprint of a specification travels with the process."""

import hashlib
from typing import Final

import msgspec

from tekton.utils.tekton_config import ComponentSpec

_NOT_FOR_THE_PROCESS: Final = frozenset(
    {"replicas", "drain", "restart", "start_timeout", "stop_timeout", "constraints", "profiles", "groups"}
    | {"liveness", "on_dependency_failure", "breaker"}
)
"""What holds without a new process when it has changed."""


def fingerprint(spec: ComponentSpec) -> str:
    """Tells whether a specification has changed in a way that a running process must be replaced for."""
    concerned = {k: v for k, v in msgspec.structs.asdict(spec).items() if k not in _NOT_FOR_THE_PROCESS}
    return hashlib.sha256(msgspec.json.encode(concerned)).hexdigest()[:16]
