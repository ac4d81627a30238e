"""Constraints: what must be free on the machine. The same rules for `constraints` in components.json and for whoever
asks `ResourceMonitor.check_constraints`.

    cpu_percent_max, memory_percent_max                     at most, in percent
    memory_free_min, disk_free_min, gpu_mem_free_min        at least, in GiB

Of several GPUs, the one with the most free memory counts. Where there is none, none is free.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tekton.utils.tekton_ids import nearest_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What is used and free on the machine. None: not asked for, or it could not be read, which `problems` explains.

    Percentages are 0 to 100, the rest is in GiB. `gpu_memory_free` is that of each GPU.
    """

    cpu_percent: float | None = None
    memory_percent: float | None = None
    memory_free: float | None = None
    disk_free: float | None = None
    gpu_memory_free: Sequence[float] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether constraints are satisfied: true or false. `reasons` says which are not, and why."""

    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.reasons


def check(constraints: Mapping[str, float], readings: Readings) -> Verdict:
    """What of *constraints* does not hold, for people. Raises ValueError for a constraint that does not exist."""
    reasons = ((name, _rule(name)(limit, readings)) for name, limit in constraints.items())
    return Verdict(tuple(f"{name}: {why}" for name, why in reasons if why is not None))


def _rule(name: str) -> "_Rule":
    rule = _RULES.get(name)
    if rule is None:
        nearest = nearest_name(name, _RULES)
        raise ValueError(f"there is no constraint {name!r}{f'; did you mean {nearest!r}?' if nearest else ''}")
    return rule


def _at_most(what: str, limit: float, found: float | None, problem: str | None) -> str | None:
    if found is None:
        return f"{what} is not known{f' ({problem})' if problem else ''}, {limit:g} % allowed"
    return None if found <= limit else f"{what} at {found:.1f} %, {limit:g} % allowed"


def _at_least(limit: float, found: float | None, problem: str | None) -> str | None:
    if (found or 0.0) >= limit:
        return None
    return f"{found or 0.0:.1f} GiB free of {limit:.1f} wanted{f' ({problem})' if problem else ''}"


_Rule = Callable[[float, Readings], str | None]

_RULES: Final[Mapping[str, _Rule]] = {
    "cpu_percent_max": lambda limit, found: _at_most("CPU", limit, found.cpu_percent, found.problems.get("cpu")),
    "memory_percent_max": lambda limit, found: _at_most(
        "memory", limit, found.memory_percent, found.problems.get("memory")
    ),
    "memory_free_min": lambda limit, found: _at_least(limit, found.memory_free, found.problems.get("memory")),
    "disk_free_min": lambda limit, found: _at_least(limit, found.disk_free, found.problems.get("disk")),
    "gpu_mem_free_min": lambda limit, found: _at_least(
        limit, max(found.gpu_memory_free, default=None), found.problems.get("gpu")
    ),
}
CONSTRAINTS: Final = tuple(_RULES)
"""The constraints that there are."""
