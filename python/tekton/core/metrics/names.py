"""What a metric may be called, and under which name it is exposed.

Names follow the conventions of Prometheus and OpenMetrics: letters, digits and underscores, the unit at the end, and
`_total` behind that for a counter. Whoever declares a metric may leave the unit and `_total` out; they are added to the
name that is exposed. Colons are for recording rules, and labels that begin with `__` for Prometheus itself.
"""

import re
from typing import Final

from tekton.utils.tekton_errors import InvalidMetricError

MAX_NAME: Final = 128
MAX_LABELS: Final = 16
MAX_LABEL_VALUE: Final = 512
"""Characters."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNIT = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_TOTAL = "_total"


def check_name(name: str) -> None:
    """Raise InvalidMetricError for what is no name of a metric."""
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise InvalidMetricError(name[:MAX_NAME], "a name has letters, digits and '_', and begins with no digit")


def check_unit(name: str, unit: str) -> None:
    """Raise InvalidMetricError for what is no unit: `seconds`, `bytes`, `ratio`; empty for none."""
    if unit and (len(unit) > MAX_NAME or _UNIT.fullmatch(unit) is None or unit == "total"):
        raise InvalidMetricError(name, f"{unit[:MAX_NAME]!r} is no unit; use a word such as 'seconds' or 'bytes'")


def check_labels(name: str, labels: tuple[str, ...], reserved: frozenset[str]) -> None:
    """Raise InvalidMetricError for names of labels that cannot be; *reserved* are those that the type needs itself."""
    if len(labels) > MAX_LABELS:
        raise InvalidMetricError(name, f"at most {MAX_LABELS} labels")
    if len(set(labels)) < len(labels):
        raise InvalidMetricError(name, "a label is there twice")
    for label in labels:
        if len(label) > MAX_NAME or _NAME.fullmatch(label) is None:
            raise InvalidMetricError(name, f"{label!r} is no name of a label")
        if label.startswith("__") or label in reserved:
            raise InvalidMetricError(name, f"the label {label!r} is reserved")


def check_label_value(name: str, label: str, value: object) -> None:
    """Raise InvalidMetricError for what is no text, or too long to tell label sets apart by."""
    if not isinstance(value, str):
        raise InvalidMetricError(name, f"the label {label!r} is {value!r}, which is no text")
    if len(value) > MAX_LABEL_VALUE:
        raise InvalidMetricError(name, f"the label {label!r} has more than {MAX_LABEL_VALUE} characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidMetricError(name, f"the label {label!r} has half a character")


def family_name(name: str, unit: str, *, counter: bool) -> str:
    """The name of the family: with the unit, and without the `_total` that the sample of a counter has."""
    base = name.removesuffix(_TOTAL) if counter and name != _TOTAL else name
    return base if not unit or base.endswith(f"_{unit}") else f"{base}_{unit}"
