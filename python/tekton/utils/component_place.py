"""Where a component is that nobody has started for Tekton: in a container, on another machine.

What its program cannot know stands in variables that begin with its id: ENGRAM_HOST for `engram`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from tekton.utils.config_origin import in_environment
from tekton.utils.config_places import environment_text
from tekton.utils.config_ports import variable_prefix
from tekton.utils.tekton_errors import ConfigurationError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ComponentPlace:
    """What the environment says of one component; None, or nothing, where it says nothing.

    `host` is the address that it listens on, `url` the base URL under which others reach it, `allowed_hosts` further
    names under which it is called. `max_instances` of it may live at once, and one that has ended is forgotten after
    `forget_after` seconds.
    """

    host: str | None = None
    url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    max_instances: int | None = None
    forget_after: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which it is called: that of its URL, too."""
        own = urlsplit(self.url).hostname if self.url else None
        return (*((own,) if own else ()), *self.allowed_hosts)

    def over(self, below: "ComponentPlace") -> "ComponentPlace":
        """This place; where it says nothing, *below* does."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, ())}
        return dataclasses.replace(below, **given)


def read_place(component_id: str, environ: Mapping[str, str], base_url: Callable[[str, str], str]) -> ComponentPlace:
    """What *environ* says of *component_id*. Raises `ConfigurationError`; so does *base_url* (a URL, its variable)."""
    prefix = variable_prefix(component_id)
    url = environment_text(environ, f"{prefix}_URL")
    hosts = (environment_text(environ, f"{prefix}_ALLOWED_HOSTS") or "").split(",")
    return ComponentPlace(
        host=environment_text(environ, f"{prefix}_HOST"),
        url=None if url is None else base_url(url, f"{prefix}_URL"),
        allowed_hosts=tuple(filter(None, map(str.strip, hosts))),
        max_instances=_number(environ, f"{prefix}_MAX_INSTANCES", int),
        forget_after=_number(environ, f"{prefix}_FORGET_AFTER", float),
    )


def _number(environ: Mapping[str, str], variable: str, kind: Callable[[str], _T]) -> _T | None:
    text = environment_text(environ, variable)
    try:
        return None if text is None else kind(text)
    except ValueError:
        raise ConfigurationError([in_environment(variable).mistake(f"expected a number, found {text!r}")]) from None
