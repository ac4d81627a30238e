"""What a command is refused for, given the instances of its component. Plain functions: None means that it may be done.

A command is carried out on the head, which may be ahead of the disk. A refusal must not rest on what is not durable
yet: nobody can see it, and it may never come. So what the head refuses is judged again, by these functions, on what is
committed (`Ledger`).
"""

from collections.abc import Callable, Sequence

from tekton.core.component_lifecycle.steps import Key
from tekton.core.lifecycle import (
    ENDED,
    PATH_TO_READY,
    STATES,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    can_transition,
)
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    IllegalTransitionError,
    RegistryError,
    StaleInstanceError,
)

Judge = Callable[[Sequence[ComponentRecord]], RegistryError | None]


def registration(
    asked: ComponentRegistration, supervised: bool, instances: Sequence[ComponentRecord]
) -> RegistryError | None:
    """Why *asked* is refused: as many live instances as there may be, itself not among them.

    Who runs the processes (*supervised*) decides how many of them there are: those do not count for each other.
    """
    live = [record for record in instances if record.state not in ENDED and not (supervised and record.supervised)]
    if not live or any(record.instance_uuid == asked.instance_uuid for record in live):
        return None
    if len(live) < min(asked.max_instances, *(record.max_instances for record in live)):
        return None
    return ComponentExistsError(asked.component_id, live[0].instance_uuid)


def step(key: Key, state: ComponentState | None, instances: Sequence[ComponentRecord]) -> RegistryError | None:
    """Why *key* may not go to *state* (None: stay where it is)."""
    record = _find(key, instances)
    if record is None:
        return unknown(key, instances)
    if state is None or can_transition(record.state, state):
        return None
    return _illegal(record, state)


def readiness(key: Key, instances: Sequence[ComponentRecord]) -> RegistryError | None:
    """Why *key* may not be walked to READY."""
    record = _find(key, instances)
    if record is None:
        return unknown(key, instances)
    return None if record.state in PATH_TO_READY else _illegal(record, ComponentState.READY)


def removal(key: Key, instances: Sequence[ComponentRecord]) -> RegistryError | None:
    """Why *key* cannot be removed."""
    return unknown(key, instances) if _find(key, instances) is None else None


def unknown(key: Key, instances: Sequence[ComponentRecord]) -> RegistryError:
    """*key* is none of *instances*."""
    return StaleInstanceError(*key) if instances else ComponentNotFoundError(key[0])


def _find(key: Key, instances: Sequence[ComponentRecord]) -> ComponentRecord | None:
    return next((record for record in instances if record.instance_uuid == key[1]), None)


def _illegal(record: ComponentRecord, state: ComponentState) -> IllegalTransitionError:
    legal = [one.value for one in STATES if can_transition(record.state, one)]
    return IllegalTransitionError(record.component_id, record.state.value, state.value, legal)
