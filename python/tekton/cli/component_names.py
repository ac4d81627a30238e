"""Names of components, for a shell that completes a word: whatever can be known within a tenth of a second.

From the control plane that runs, else from the components.json beside the configuration. What cannot be read, or is not
there, gives no names: nobody has asked a question that could be answered with an error.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tekton.cli.options import Target

_PATIENCE = 0.5


class ComponentName(click.types.StringParamType):
    """A text that is the name of a component. Any text is accepted; a shell completes those that exist."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        chosen = ctx.params.get(param.name or "") or ()
        names = known_names(_target(ctx))
        return [CompletionItem(name) for name in names if name.startswith(incomplete) and name not in chosen]


def _target(context: click.Context) -> Target:
    """What the words so far say about the control plane, before the verb and behind it."""
    said = Target()
    for place in filter(None, (context, context.parent)):
        given = {name: place.params.get(name) for name in ("data_dir", "url", "config")}
        from_environment = place.get_parameter_source("url") is click.core.ParameterSource.ENVIRONMENT
        said = said.beside(Target(**given, url_is_from_environment=from_environment))
    return said


def complete_names(command: click.Command) -> None:
    """Let a shell complete the parameters of *command* that are names of components."""
    for parameter in command.params:
        told = parameter.metavar or (parameter.name or "").upper()
        if parameter.type is click.STRING and told.strip("[].").removesuffix("S") == "NAME":
            parameter.type = _COMPONENT_NAME


_COMPONENT_NAME = ComponentName()


def known_names(target: Target) -> list[str]:
    """The components of the control plane that *target* means, or those of its configuration."""
    try:
        return _valid(_running(target)) or _valid(_configured(target))
    except Exception:
        return []  # a shell is waiting for words, and would show a traceback between them


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
