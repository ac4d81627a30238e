"""What is wrong with files and settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "ConfigurationError",
    "Mistake",
]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a configuration file.

    `line` and `column` count from 1; both are 0 when the mistake is not in a file (an environment variable,
    a contradiction between two files). `pointer` is a JSON pointer into the document.
    """

    source: str
    line: int
    column: int
    pointer: str
    problem: str
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        advice = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}: {self.problem}{advice}"


class ConfigurationError(TektonError):
    """The configuration is wrong; `mistakes` holds all that is wrong with it, not just the first."""

    code = "config_invalid"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))
