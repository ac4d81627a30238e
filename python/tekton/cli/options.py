"""Options that several verbs share, and the types they are read into."""

import functools
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from tekton.cli.template import Template

_F = TypeVar("_F", bound=Callable[..., Any])


class Target(NamedTuple):
    """Which control plane a command means, as far as the command line and TEKTON_URL say so.

    TEKTON_URL counts only when nothing else was said; `url_is_from_environment` tells that `url` is that.
    """

    data_dir: Path | None = None
    url: str | None = None
    config: Path | None = None
    url_is_from_environment: bool = False

    def beside(self, other: "Target") -> "Target":
        """This target, completed by what only *other* says."""
        given = [target.url for target in (self, other) if target.url and not target.url_is_from_environment]
        merged = Target(self.data_dir or other.data_dir, given[0] if given else None, self.config or other.config)
        if merged != Target():
            return merged
        url = self.url or other.url
        return Target(url=url, url_is_from_environment=url is not None)

    @property
    def words(self) -> str:
        """What to write behind a verb to mean this data directory again; empty when nothing was said."""
        named = (("--data-dir", self.data_dir), ("--config", self.config))
        return "".join(f" {option} {shlex.quote(str(path))}" for option, path in named if path is not None)

    def on_this_machine(self, verb: str) -> "Target":
        """This target for a *verb* that works on a data directory: TEKTON_URL does not concern it.

        Raises UsageError when `--url` was given to it.
        """
        if self.url is not None and not self.url_is_from_environment:
            raise click.UsageError(f"{verb} works on a data directory of this machine; --url names a system elsewhere")
        return self._replace(url=None, url_is_from_environment=False)


_DIRECTORY = click.Path(file_okay=False, path_type=Path, resolve_path=True)
_FILE = click.Path(path_type=Path, resolve_path=True)

_TARGET_OPTIONS = (
    click.option(
        "--data-dir",
        type=_DIRECTORY,
        metavar="DIR",
        help="Where the control plane keeps its data. Names a running one, too.",
    ),
    click.option("--url", metavar="URL", envvar="TEKTON_URL", help="Base URL of a control plane that runs elsewhere."),
    click.option(
        "-c",
        "--config",
        type=_FILE,
        metavar="FILE",
        help="Configuration file, or its folder. Default: the nearest tekton.json.",
    ),
)


def target_options(function: _F) -> _F:
    """Add the options that choose a control plane; *function* receives them as `target`.

    They may stand before the verb or behind it; behind it wins.
    """

    @functools.wraps(function)
    def with_target(*args: Any, data_dir: Path | None, url: str | None, config: Path | None, **kwargs: Any) -> Any:
        context = click.get_current_context()
        from_environment = context.get_parameter_source("url") is click.core.ParameterSource.ENVIRONMENT
        own = Target(data_dir, url, config, from_environment)
        return function(*args, target=own.beside(context.find_object(Target) or Target()), **kwargs)

    decorated: _F = _decorate(with_target, _TARGET_OPTIONS)
    return decorated


components_file_option = click.option(
    "-f",
    "--file",
    "components_file",
    type=_FILE,
    metavar="FILE",
    help="A components.json; the other files are taken from beside it.",
)
"""The word that people know from compose; it says the same as `--config`."""


_TEMPLATE = "template="


class _Format(click.Choice[str]):
    """One of *formats*, or a template over *fields*, which are asked for when one is given."""

    def __init__(self, formats: Sequence[str], fields: Callable[[], Sequence[str]]) -> None:
        super().__init__([*formats, _TEMPLATE])
        self._fields = fields

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith(_TEMPLATE):
            from tekton.cli.template import Template

            return Template(value.removeprefix(_TEMPLATE), self._fields())
        return super().convert(value, param, ctx)


def output_options(*formats: str, fields: Callable[[], Sequence[str]] | None = None) -> Callable[[_F], _F]:
    """Add `-o/--output` with these *formats*, the first by default, and `--json`; the function receives `output`.

    With *fields*, which are those of an item of its list, `output` may be a `Template`, too.
    """
    choice = click.Choice(formats) if fields is None else _Format(formats, fields)
    text = "The format." if fields is None else "The format; template='{name} {state}' is a line like that for each."

    def add(function: _F) -> _F:
        @functools.wraps(function)
        def with_output(*args: Any, output: "str | Template", as_json: bool, **kwargs: Any) -> Any:
            return function(*args, output="json" if as_json else output, **kwargs)

        options = (
            click.option("-o", "--output", type=choice, default=formats[0], show_default=True, help=text),
            click.option("--json", "as_json", is_flag=True, help="The same as -o json."),
        )
        decorated: _F = _decorate(with_output, options)
        return decorated

    return add


def _decorate(function: Any, decorators: tuple[Callable[[Any], Any], ...]) -> Any:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of an option that is a moment, in wall-clock seconds; `core.history.instants` says how to write it."""
    if value is None:
        return None
    from tekton.clock import SYSTEM_CLOCK
    from tekton.core.history.instants import parse_instant

    try:
        return parse_instant(value, SYSTEM_CLOCK.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of an option that is a length of time, in seconds: `90`, `90s`, `1m30s`, `500ms`, `2h` or `1d`."""
    if value is None:
        return None
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    raise click.BadParameter(f"{value!r} is not a length of time; write it like 30s, 1m30s or 500ms")


def some_time(most: float) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """As `duration`, for what is more than nothing, and at most *most* seconds: days, or minutes."""
    unit = "d" if most >= _UNITS["d"] else "m"

    def callback(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
        seconds = duration(context, parameter, value)
        if seconds is not None and not 0 < seconds <= most:
            raise click.BadParameter(
                f"{value!r} is not in the range: more than nothing, and at most {most / _UNITS[unit]:g}{unit}"
            )
        return seconds

    return callback
