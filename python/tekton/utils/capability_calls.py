"""Calling whoever serves a capability, and those that stand in while it fails.

    await call_capability("text_generation", "/api/generate", "POST", {"prompt": "..."})

All components that offer the capability are one pool of instances, over which a call is balanced and tried again as in
`calls`. When that has failed, the fallbacks of the configuration are asked in their order, each with its parameters in
the data. There is one deadline for all of it: whoever is asked gets an equal share of what is left, so that one that
hangs leaves time for the next. A refusal that is about the request (4xx) is an answer: a fallback would say the same.

A fallback may be asked although the first one has begun with the work: what must never be done twice has none.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from tekton.core.capability_service import Fallback, merged
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.failures import is_failure
from tekton.utils.calls import Call, Caller, Instances
from tekton.utils.tekton_errors import CallTimeoutError, NoFallbackAvailableError, TektonError

__all__ = ["Candidate", "Fallbacks", "call_in_turn"]


class _Breaker(BreakerSettings, frozen=True):
    enabled: bool = True


class _CallSettings(msgspec.Struct, frozen=True):
    """A value of the topic `call_settings`."""

    fallbacks: dict[str, tuple[Fallback, ...]]
    breakers: dict[str, _Breaker]


class Fallbacks:
    """The fallbacks of all capabilities, as the control plane told them last. *adopt* gets the breakers' settings."""

    def __init__(self, adopt: Callable[[Mapping[str, BreakerSettings | None]], None] = lambda _: None) -> None:
        self._adopt = adopt
        self._chains: dict[str, tuple[Fallback, ...]] = {}
        self._told = asyncio.Event()

    def of(self, capability: str) -> tuple[Fallback, ...]:
        """The chain of a capability, the first one to ask first, as it is known."""
        return self._chains.get(capability, ())

    async def known(self) -> None:
        """Return when the control plane has told them once."""
        await self._told.wait()

    def learn(self, value: object) -> None:
        """Go by *value*, of the topic `call_settings`. None, and what is of another version, changes nothing."""
        self._told.set()
        try:
            settings = msgspec.convert(value, _CallSettings)
        except msgspec.ValidationError:
            return
        self._chains = settings.fallbacks
        self._adopt({name: _settings(one) for name, one in settings.breakers.items()})


def _settings(told: _Breaker) -> BreakerSettings | None:
    if not told.enabled:
        return None
    return BreakerSettings(**{name: getattr(told, name) for name in BreakerSettings.__struct_fields__})


class Candidate(NamedTuple):
    """One of those who are asked in turn: the name, all instances as they are known at the moment, the parameters."""

    name: str
    instances: Instances
    parameters: Mapping[str, Any] = {}


async def call_in_turn(
    caller: Caller, capability: str, candidates: Sequence[Candidate], call: Call, timeout: float
) -> Any:
    """The decoded answer of the first of *candidates* that can give one within *timeout* seconds.

    Raises NoFallbackAvailableError, which tells of each why not, and what an instance reports about the request.
    """
    for candidate in candidates:
        # Somebody who cannot be asked this is better found now than when he is needed.
        if not isinstance(call.data, dict):
            merged(call.data, candidate.parameters)
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    causes: dict[str, TektonError] = {}
    for place, (name, instances, parameters) in enumerate(candidates):
        shares = 1 + sum(_can_be_asked(later) for later in candidates[place + 1 :])
        left = deadline - clock()
        if left <= 0:
            causes[name] = CallTimeoutError(name, timeout)
            continue
        try:
            wanted = replace(call, data=merged(call.data, parameters))
            return await caller.call(name, instances, wanted, left / shares)
        except TektonError as error:
            if not is_failure(error):
                raise
            causes[name] = error
    raise NoFallbackAvailableError(capability, {name: str(error) for name, error in causes.items()}, causes)


def _can_be_asked(candidate: Candidate) -> bool:
    return any(record.discoverable for record in candidate.instances())
