"""Who serves a capability: those that offer it, and while none of them can be used, whoever stands in for them.

The fallbacks of a capability are a chain: the first one that can be used stands in. A component that is in the chain
is a fallback, although it may offer the capability itself: it is not called while another one can be. The rules are
the same for the control plane, which says who serves, and for callers, which go by it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

ServiceState = Literal["normal", "fallback", "unavailable"]


class Fallback(msgspec.Struct, frozen=True):
    """A component that stands in, and the members of the data that it is called with besides the caller's own."""

    component: str
    parameters: dict[str, Any] = {}


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Who serves `capability` now.

    `served_by` are the components: all that offer it and can be used (`normal`), the one that stands in (`fallback`),
    or nobody (`unavailable`), `since` then (wall-clock seconds; None: nobody else has since the start). `primary` are
    those that offer it, usable or not; `fallbacks` is the chain behind them.
    """

    capability: str
    state: ServiceState
    served_by: tuple[str, ...]
    primary: tuple[str, ...]
    fallbacks: tuple[Fallback, ...]
    since: float | None = None

    @property
    def fallback(self) -> Fallback | None:
        """The fallback that serves now."""
        if self.state != "fallback":
            return None
        return next(one for one in self.fallbacks if one.component in self.served_by)


def serve(
    capability: str, offering: Iterable[str], fallbacks: Sequence[Fallback], usable: Callable[[str], bool]
) -> Service:
    """Who serves *capability*, which the components *offering* offer. *usable* tells who can be called."""
    chain = tuple(fallbacks)
    standing_by = {one.component for one in chain}
    primary = tuple(name for name in offering if name not in standing_by)
    served_by = tuple(filter(usable, primary))
    state: ServiceState = "normal"
    if not served_by:
        served_by = tuple(one.component for one in chain if usable(one.component))[:1]
        state = "fallback" if served_by else "unavailable"
    return Service(capability=capability, state=state, served_by=served_by, primary=primary, fallbacks=chain)


def merged(data: object, parameters: Mapping[str, Any]) -> object:
    """*data* for a fallback: the members in *parameters* take the place of its own. Without any it is as it was.

    Raises TypeError when there are some and *data* is no JSON object, so that they have no place.
    """
    if not parameters:
        return data
    members = {} if data is None else msgspec.to_builtins(data)
    if not isinstance(members, dict):
        raise TypeError(f"a fallback has parameters, and data that is {type(data).__name__} has no place for them")
    return {**members, **parameters}
