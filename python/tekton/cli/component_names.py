"""Names of components, tools, agents, tasks, for a shell that completes a word: whatever can be known within a tenth of
a second.

From the control plane that runs, else from the components.json beside the configuration. What cannot be read, or is not
there, gives no names: nobody has asked a question that could be answered with an error.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tekton.cli.options import Target

_PATIENCE = 0.5
_LISTED = 200


class ComponentName(click.types.StringParamType):
    """A text that is the name of a component. Any text is accepted; a shell completes those that exist."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        chosen = ctx.params.get(param.name or "") or ()
        names = known_names(_target(ctx))
        return [CompletionItem(name) for name in names if name.startswith(incomplete) and name not in chosen]


class ListedName(click.types.StringParamType):
    """A text that is a name in the list at *path*. Any text is accepted; a shell completes those that are in it.

    *names* gives those of an item.
    """

    def __init__(self, path: str, names: Callable[[dict[str, Any]], Sequence[str]]) -> None:
        self._path = path
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        chosen = ctx.params.get(param.name or "") or ()
        names = known_items(_target(ctx), self._path, self._names)
        return [CompletionItem(name) for name in names if name.startswith(incomplete) and name not in chosen]


def _target(context: click.Context) -> Target:
    """What the words so far say about the control plane, before the verb and behind it."""
    said = Target()
    place: click.Context | None = context
    while place is not None:
        given = {name: place.params.get(name) for name in ("data_dir", "url", "config")}
        from_environment = place.get_parameter_source("url") is click.core.ParameterSource.ENVIRONMENT
        said = said.beside(Target(**given, url_is_from_environment=from_environment))
        place = place.parent
    return said


def complete_names(command: click.Command) -> None:
    """Let a shell complete the parameters of *command*, and of those below it, that are names of something."""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        complete_names(below)
    for parameter in command.params:
        told = (parameter.metavar or (parameter.name or "").upper()).strip("[].").removesuffix("S")
        if parameter.type is click.STRING and told in _NAMES:
            parameter.type = _NAMES[told]


_NAMES = {
    "NAME": ComponentName(),
    "STREAM": ListedName("/api/streams", lambda one: (one["name"],)),
    "CONSUMER": ListedName("/api/streams", lambda one: [each["name"] for each in one["consumers"]]),
    "TOOL": ListedName("/api/tools", lambda one: (one["id"],)),
    "AGENT": ListedName("/api/agents", lambda one: (one["agent_id"],)),
    "CAPABILITY": ListedName("/api/agents", lambda one: one["capabilities"]),
    "TASK": ListedName("/api/tasks", lambda one: (one["task_id"][-8:],)),
    "TASK_TYPE": ListedName("/api/agents", lambda one: one["capabilities"]),
    "CONVERSATION": ListedName("/api/conversations", lambda one: (one["conversation_id"],)),
}


def known_names(target: Target) -> list[str]:
    """The components of the control plane that *target* means, or those of its configuration."""
    try:
        return _valid(_running(target)) or _valid(_configured(target))
    except Exception:
        return []  # a shell is waiting for words, and would show a traceback between them


def known_items(target: Target, path: str, names: Callable[[dict[str, Any]], Sequence[str]]) -> list[str]:
    """The names in a list of the control plane that *target* means, each once."""
    from tekton.cli.client import connect
    from tekton.utils.tekton_ids import DOTTED_ID_PATTERN

    try:
        page = connect(target).get(path, {"limit": _LISTED}, timeout=_PATIENCE)
        found = dict.fromkeys(name for one in page["items"] for name in names(one))
        return [name for name in found if re.fullmatch(DOTTED_ID_PATTERN, name)]
    except Exception:
        return []  # as above


def _valid(names: list[str]) -> list[str]:
    """Those that can be ids: a shell puts them on its line as they are, so `$(rm -r ~)` must not be among them."""
    from tekton.utils.tekton_ids import ID_PATTERN

    return [name for name in names if re.fullmatch(ID_PATTERN, name)]


def _running(target: Target) -> list[str]:
    from tekton.cli.client import connect
    from tekton.utils.tekton_errors import TektonError

    try:
        system = connect(target).get("/api/system", timeout=_PATIENCE)
    except TektonError:
        return []
    return [view["component_id"] for view in system["components"]]


def _configured(target: Target) -> list[str]:
    main = _main_file(target.config)
    components = main.with_name("components.json") if main is not None else Path("components.json")
    return list(_read(components).get("components", {}))


def _main_file(config: Path | None) -> Path | None:
    if config is not None:
        config = config / "tekton.json" if config.is_dir() else config.with_name("tekton.json")
        return config if config.is_file() else None
    here = Path.cwd()
    places = (directory / name for directory in (here, *here.parents) for name in ("tekton.json", "config/tekton.json"))
    return next((place for place in places if os.path.isfile(place)), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
