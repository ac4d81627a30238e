"""The streams of tekton.json, checked against each other: no subject is in two of them, and together they fit."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tekton._native import overlaps
from tekton.auth.roles import names_requests
from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_origin import Origin
from tekton.utils.config_rules import parse_size
from tekton.utils.config_schema import StreamSpec
from tekton.utils.json_document import child_pointer
from tekton.utils.tekton_errors import Mistake

_TABLE = "/tekton/bus/streams"


def checked_streams(written: Mapping[str, Any], checker: Checker) -> dict[str, StreamSpec]:
    """The streams by name; what is wrong is told to *checker*."""
    streams = msgspec.convert(written, dict[str, StreamSpec])
    taken: dict[str, str] = {}
    for name, spec in streams.items():
        for place, subject in enumerate(spec.subjects):
            if (other := next((one for one in taken if _overlap(one, subject)), None)) is not None:
                _report(checker, name, place, f"{subject!r} has subjects that {taken[other]} takes by {other!r}")
            taken[subject] = name
    return streams


def too_large(streams: Mapping[str, StreamSpec], size: int | str, origin: Origin | None) -> list[Mistake]:
    """The mistake that *streams* may take more than *size* together, told at *origin*; none when they fit."""
    together = sum(parse_size(spec.max_bytes) for spec in streams.values())
    if together <= parse_size(size) or origin is None:
        return []
    problem = f"the streams may take {together} bytes together, and tekton.bus.streams_size is {size}"
    return [origin.mistake(problem, "give one of them less with 'max_bytes'")]


def _overlap(one: str, other: str) -> bool:
    return names_requests(one) is names_requests(other) and overlaps(one, other)


def _report(checker: Checker, name: str, place: int, problem: str) -> None:
    where = child_pointer(child_pointer(child_pointer(_TABLE, name), "subjects"), place)
    node = checker.document.find(where)
    assert node is not None, where
    checker.report(node, f"{dotted(where)}: {problem}", "a subject is in one stream at most")
