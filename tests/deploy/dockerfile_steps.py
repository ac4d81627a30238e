"""Reads a Dockerfile: its stages, and the steps of each. As much of the format as the ones here use."""

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any

KNOWN = frozenset({"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "LABEL", "HEALTHCHECK", "CMD"})


@dataclass
class Step:
    """One instruction: `words` of one in JSON, or split as a shell would; `options` are its `--name=value`."""

    name: str
    text: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What it says, word by word."""
        if self.text.startswith("["):
            return [str(word) for word in json.loads(self.text)]
        return shlex.split(self.text)

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return self.words if self.text.startswith("[") else ["/bin/sh", "-c", self.text]


@dataclass
class Stage:
    """What comes after one FROM. `name` is empty unless it says `AS name`."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


def read(text: str) -> list[Stage]:
    """The stages of a Dockerfile, in order. Raises ValueError for an instruction that is none."""
    stages: list[Stage] = []
    for name, rest in _instructions(text):
        if name not in KNOWN:
            raise ValueError(f"{name} is no instruction that is known here")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append(Stage(base.strip(), alias.strip()))
        else:
            stages[-1].steps.append(_step(name, rest))
    return stages


def assignments(step: Step) -> dict[str, str]:
    """What an ENV sets."""
    return dict(word.split("=", 1) for word in shlex.split(step.text))


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines()]


def _step(name: str, rest: str) -> Step:
    options: dict[str, Any] = {}
    while (found := re.match(r"--([a-z-]+)=(\S+)\s+", rest)) and name in ("COPY", "HEALTHCHECK"):
        options[found[1]] = found[2]
        rest = rest[found.end() :]
    return Step(name, rest.removeprefix("CMD ") if name == "HEALTHCHECK" else rest, options)
