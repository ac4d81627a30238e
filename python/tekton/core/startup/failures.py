"""What the last start of each component failed with, and whom it blocks."""

from tekton.utils.tekton_errors import DependencyError, TektonError


class StartFailures:
    """Errors by component, with an index of the dependencies that were at fault."""

    def __init__(self) -> None:
        self._errors: dict[str, TektonError] = {}
        self._blocked: dict[str, dict[str, None]] = {}

    def note(self, component_id: str, error: TektonError) -> None:
        """The last start of the component failed with *error*."""
        self.forget(component_id)
        self._errors[component_id] = error
        for dependency in _at_fault(error):
            self._blocked.setdefault(dependency, {})[component_id] = None

    def forget(self, component_id: str) -> None:
        """The component is up, or is not meant to be."""
        error = self._errors.pop(component_id, None)
        for dependency in _at_fault(error):
            blocked = self._blocked[dependency]
            blocked.pop(component_id, None)
            if not blocked:
                del self._blocked[dependency]

    def of(self, component_id: str) -> TektonError | None:
        """What the last start of the component failed with."""
        return self._errors.get(component_id)

    def blocked_by(self, component_id: str) -> list[str]:
        """Components whose last start failed because *component_id* could not be used."""
        return list(self._blocked.get(component_id, ()))


def _at_fault(error: TektonError | None) -> frozenset[str]:
    # Nobody in a circle is helped by one of the others coming up.
    if not isinstance(error, DependencyError) or error.cycle:
        return frozenset()
    return frozenset(error.failed_dependencies)
