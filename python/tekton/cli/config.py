"""The verb config: check, show and describe the configuration, without starting anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tekton.cli.client import load_config
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import AdvisedUsageError, FileProblemError, say_warning
from tekton.cli.render import Column, plural, say, table, to_json
from tekton.cli.unmet import unmet_dependencies, warn_of

if TYPE_CHECKING:
    from tekton.utils.tekton_config import ShownSetting, TektonConfig

FILES = ("tekton", "components", "dependencies", "ports", "security")
"""The configuration files, by their names without `.json`."""


_MEANT = {"validate": "check", "verify": "check", "lint": "check", "test": "check", "print": "show", "get": "show"}
"""What others call it."""


class _ConfigGroup(click.Group):
    """Knows what the verbs are called elsewhere."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _MEANT:
            raise AdvisedUsageError(f"No such command {args[0]!r}.", f"{ctx.command_path} {_MEANT[args[0]]}")
        return super().resolve_command(ctx, args)


@click.group(cls=_ConfigGroup)
@target_options
@click.pass_context
def config(context: click.Context, target: Target) -> None:
    """Check and show the configuration.

    Nothing is started, and nothing that runs is asked.
    """
    context.obj = target


@config.command()
@output_options("text", "json")
@target_options
def check(output: str, target: Target) -> None:
    """Report all mistakes.

    Each with file, line and column, and the nearest valid name; then the exit status is 8.
    A dependency on what is not configured is a warning.
    """
    from tekton.clock import SYSTEM_CLOCK
    from tekton.service.exposure import exposure_warnings
    from tekton.service.tls import configured_tls

    loaded = load_config(target.on_this_machine("config check"))
    configured_tls(loaded, SYSTEM_CLOCK.time())
    for warning in exposure_warnings(loaded):
        say_warning(warning)
    files = [str(path) for path in loaded.files.paths()]
    warn_of(unmet_dependencies(loaded.components, loaded.components))
    if output == "json":
        click.echo(to_json({"files": files, "components": list(loaded.components), "mistakes": []}, indent=2))
        return
    named = ", ".join(_short(path) for path in loaded.files.paths()) or "no files, only defaults"
    click.echo(f"ok: {plural(len(loaded.components), 'component')} ({named})")


@config.command()
@click.argument("names", metavar="[KEY]...", nargs=-1)
@click.option("--origin", is_flag=True, help="Also show where each value was set.")
@output_options("table", "json")
@target_options
def show(names: tuple[str, ...], origin: bool, output: str, target: Target) -> None:
    """Show every value as it counts, without secrets.

    With a KEY, only that one and what is below it: tekton.security, ports.hermes, components.
    """
    loaded = load_config(target.on_this_machine("config show"))
    rows = [row for row in loaded.show() if not names or any(_is_below(row.name, name) for name in names)]
    _refuse_unknown(names, loaded)
    if output == "json":
        click.echo(to_json({row.name: _entry(row, origin) for row in rows}, indent=2))
        return
    columns = (Column("KEY"), *((Column("FROM"),) if origin else ()), Column("VALUE"))
    cells = [(name, *((source,) if origin else ()), value) for row in rows for name, value, source in _lines(row)]
    click.echo("\n".join(table(columns, cells)))


@config.command()
@click.argument("file", type=click.Choice(FILES), required=False)
@click.option(
    "--write",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the schemas of all files into a folder.",
)
@target_options
def schema(file: str | None, directory: Path | None, target: Target) -> None:  # noqa: ARG001 - the same everywhere
    """Print the JSON schema of a file.

    An editor that knows it completes keys and shows mistakes: point "$schema" at the top of the file to it.
    """
    from tekton.utils.config_schema import json_schema

    if (file is None) is (directory is None):
        raise click.UsageError(f"name a file ({', '.join(FILES)}), or a folder with --write")
    if file is not None:
        click.echo(to_json(json_schema(file), indent=2))
    elif directory is not None:
        _write(directory)


def write_schemas(directory: Path) -> list[Path]:
    """Write the JSON schemas of all files into *directory*; their paths. Raises OSError."""
    from tekton.utils.config_schema import json_schema

    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.schema.json" for name in FILES]
    for name, path in zip(FILES, paths, strict=True):
        path.write_text(to_json(json_schema(name), indent=2) + "\n", "utf-8")
    return paths


def _write(directory: Path) -> None:
    try:
        paths = write_schemas(directory)
    except OSError as error:
        raise FileProblemError(directory, f"cannot be written to: {error.strerror}") from error
    click.echo("\n".join(map(str, paths)))
    say(f'put "$schema": "{directory}/components.schema.json" at the top of components.json, and so on')


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_below(name: str, key: str) -> bool:
    return f"{name}.".startswith(f"{key.rstrip('.')}.")


def _refuse_unknown(names: tuple[str, ...], loaded: "TektonConfig") -> None:
    from tekton.utils.tekton_ids import did_you_mean

    known = [row.name for row in loaded.show()]
    for name in names:
        if not any(_is_below(row, name) for row in known):
            sections = {row.rpartition(".")[0] for row in known}
            advice = did_you_mean(name, [*known, *sections], closeness=0.75)
            raise click.UsageError(f"no setting {name!r}" + (f"; {advice}" if advice else ""))


def _entry(row: "ShownSetting", origin: bool) -> Any:
    return {"value": row.value, "origin": row.source} if origin else row.value


def _lines(row: "ShownSetting") -> Iterator[tuple[str, str, str]]:
    """Key, value and source: one line for a setting, several for a component, of which what is empty is left out."""
    if not isinstance(row.value, dict):
        yield row.name, _text(row.value), row.source
        return
    for key, value in row.value.items():
        if value not in (None, "", [], {}):
            yield f"{row.name}.{key}", _text(value), row.source


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = {key: member for key, member in value.items() if member is not None}
    return value if isinstance(value, str) else to_json(value)
