"""Which components offer which capability."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence


class CapabilityIndex:
    """Capability -> ids of the components that offer it, in order. A list each: it takes 8 bytes per offer."""

    def __init__(self) -> None:
        self._offers: dict[str, list[str]] = {}

    def __len__(self) -> int:
        """How many capabilities there are."""
        return len(self._offers)

    def replace(self, component_id: str, before: Iterable[str], after: Iterable[str]) -> None:
        """The component, which offered *before*, now offers *after*."""
        if before == after:
            return
        # A stored record may have a name twice.
        old, new = frozenset(before), frozenset(after)
        for capability in old - new:
            self._remove(capability, component_id)
        for capability in new - old:
            insort(self._offers.setdefault(capability, []), component_id)

    def offering(self, capability: str) -> Sequence[str]:
        """The components that offer *capability*, in order of their ids. Not to be kept: it is the index itself."""
        return self._offers.get(capability, ())

    def components(self) -> dict[str, list[str]]:
        """Every capability with the ids that offer it, both in order."""
        return {name: list(offers) for name, offers in sorted(self._offers.items())}

    def _remove(self, capability: str, component_id: str) -> None:
        offers = self._offers[capability]
        del offers[bisect_left(offers, component_id)]
        if not offers:
            del self._offers[capability]
