"""Dependencies that nothing in a configuration can meet.

They are no mistake: the component may be started by somebody else and register itself. They are told before anybody
waits for them in vain.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tekton.cli.problems import say_help, say_warning
from tekton.utils.tekton_ids import did_you_mean

if TYPE_CHECKING:
    from tekton.utils.config_components import ComponentSpec


class Unmet(NamedTuple):
    """A dependency on what is not configured, and who has it."""

    component_id: str
    needed_by: list[str]
    advice: str

    @property
    def text(self) -> str:
        """The doubt as a sentence."""
        verb = "depends" if len(self.needed_by) == 1 else "depend"
        return f"{', '.join(self.needed_by)} {verb} on {self.component_id!r}, which is not configured"


def unmet_dependencies(specs: Mapping[str, "ComponentSpec"], configured: Iterable[str]) -> list[Unmet]:
    """What *specs* depend on that is not among the *configured* components."""
    known = set(configured)
    needed_by: dict[str, list[str]] = {}
    for name, spec in specs.items():
        for need in spec.dependencies:
            if need.component not in known:
                needed_by.setdefault(need.component, []).append(name)
    return [Unmet(missing, names, _advice(missing, known)) for missing, names in needed_by.items()]


def warn_of(unmet: Iterable[Unmet]) -> None:
    """Tell the person."""
    for one in unmet:
        say_warning(one.text)
        say_help(one.advice)


def _advice(missing: str, known: Iterable[str]) -> str:
    question = did_you_mean(missing, known)
    alone = "it has to register itself"
    return f"{question} Otherwise {alone}" if question else f"add it to components.json; otherwise {alone}"
