"""How the registry treats one component id when one thing happens after another: the model for histories.

The state is None, or (instance, state, generation, version) of the one instance that holds the id (`max_instances` is
1). The operations, with what they return:

| | arguments | returns |
|---|---|---|
| `register` | instance, version | the instance as it is then |
| `set_state` | instance, state | the instance as it is then |
| `make_ready` | instance | the instance as it is then |
| `deregister` | instance | the instance as it was |
| `read` | | the instance, or nothing |
"""

from collections.abc import Callable, Sequence
from typing import cast

from tekton.core.lifecycle import ENDED, PATH_TO_READY, ComponentRecord, ComponentState, can_transition
from tekton.testing.history import Operation, Values
from tekton.testing.linearizability import State

Held = tuple[str, str, int, str]
"""(instance, state, generation, version)"""

_REGISTERING = ComponentState.REGISTERING.value
_READY = ComponentState.READY.value
_ENDED = frozenset(state.value for state in ENDED)


def as_values(record: ComponentRecord | None) -> Values:
    """*record* as the operations of this model return it."""
    if record is None:
        return ()
    return record.instance_uuid, record.state.value, record.generation, record.version


class ComponentModel:
    """See the module."""

    initial: State = None
    reads = frozenset({"read"})

    def step(self, state: State, operation: Operation) -> Sequence[State]:
        """See `Model.step`."""
        held = cast("Held | None", state)
        if operation.action == "read":
            return (state,) if operation.result == (held or ()) else ()
        after = _WRITES[operation.action](held, *operation.arguments)
        if operation.outcome == "refused":
            return (state,) if after is _REFUSED else ()
        if after is _REFUSED or (operation.outcome == "unknown" and after == held):
            return ()
        answer = held if operation.action == "deregister" else after
        return (after,) if operation.outcome == "unknown" or operation.result == answer else ()


_REFUSED = object()


def _register(held: Held | None, instance: str, version: str) -> object:
    if held is None:
        return instance, _REGISTERING, 1, version
    if held[1] in _ENDED:
        return instance, _REGISTERING, held[2] + 1, version
    return (*held[:3], version) if held[0] == instance else _REFUSED


def _set_state(held: Held | None, instance: str, state: str) -> object:
    if held is None or held[0] != instance:
        return _REFUSED
    legal = can_transition(ComponentState(held[1]), ComponentState(state))
    return (instance, state, *held[2:]) if legal else _REFUSED


def _make_ready(held: Held | None, instance: str) -> object:
    if held is None or held[0] != instance or ComponentState(held[1]) not in PATH_TO_READY:
        return _REFUSED
    return instance, _READY, *held[2:]


def _deregister(held: Held | None, instance: str) -> object:
    return None if held is not None and held[0] == instance else _REFUSED


_WRITES: dict[str, Callable[..., object]] = {
    "register": _register,
    "set_state": _set_state,
    "make_ready": _make_ready,
    "deregister": _deregister,
}
