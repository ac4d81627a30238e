"""Which instances offer which capability."""

from tekton.core.lifecycle import ComponentRecord


class CapabilityIndex:
    """Capability -> (component id, instance) pairs, in the order in which they came."""

    def __init__(self) -> None:
        self._offers: dict[str, dict[tuple[str, str], None]] = {}

    def replace(self, old: ComponentRecord | None, new: ComponentRecord | None) -> None:
        """Let *new* take the place of *old*; None is an instance that is not there. Free when nothing changed."""
        before = old.capabilities if old else ()
        after = new.capabilities if new else ()
        if before == after:
            return
        record = old or new
        assert record is not None
        key = (record.component_id, record.instance_uuid)
        for capability in before:
            self._remove(capability, key)
        for capability in after:
            self._offers.setdefault(capability, {})[key] = None

    def offering(self, capability: str) -> list[tuple[str, str]]:
        """The instances that offer *capability*."""
        return list(self._offers.get(capability, ()))

    def components(self) -> dict[str, list[str]]:
        """Every capability with the ids that offer it, both in order."""
        return {name: sorted({key[0] for key in offers}) for name, offers in sorted(self._offers.items())}

    def _remove(self, capability: str, key: tuple[str, str]) -> None:
        offers = self._offers.get(capability, {})
        offers.pop(key, None)
        if not offers:
            # Also for a name that a record has twice.
            self._offers.pop(capability, None)
