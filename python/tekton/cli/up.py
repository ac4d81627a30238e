"""The verb up: start a whole system.

It starts the guard, follows the change feed, and stays until it is told to stop; with `--detach` it returns when the
start has settled. What it shows goes to stderr: it is said, not data.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tekton.cli.client import load_config
from tekton.cli.instance import Instance
from tekton.cli.names import expand
from tekton.cli.options import Target, components_file_option, duration, target_options
from tekton.cli.render import say
from tekton.cli.session import Session
from tekton.cli.stop_signals import StopSignals
from tekton.cli.unmet import unmet_dependencies, warn_of
from tekton.utils.tekton_errors import ConfigurationError, Mistake, StorageLockedError

if TYPE_CHECKING:
    from tekton.utils.config_selection import Selection
    from tekton.utils.tekton_config import TektonConfig


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@components_file_option
@click.option("-d", "--detach", is_flag=True, help="Return when all is ready or has failed; run on in the background.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--no-progress", is_flag=True, help="A line per change, on a terminal too.")
@click.option(
    "--timeout", callback=duration, metavar="TIME", help="With --detach: how long to wait (then exit status 4)."
)
@click.option("--only", metavar="NAME", multiple=True, help="The same as a NAME. Repeatable.")
@click.option("--no-deps", is_flag=True, help="With a NAME: do not start what it depends on, nor wait for it.")
@click.option(
    "--profile",
    "profiles",
    metavar="PROFILE",
    multiple=True,
    help="Start the components of this profile, too. Repeatable. Default: TEKTON_PROFILES.",
)
@click.option("--host", metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", help="The port to listen on; 0 takes a free one."
)
@click.option("--auto-port", is_flag=True, help="Listen on the next free port if somebody else has that one.")
@target_options
def up(
    *,
    names: tuple[str, ...],
    components_file: Path | None,
    detach: bool,
    quiet: bool,
    no_progress: bool,
    timeout: float | None,
    only: tuple[str, ...],
    no_deps: bool,
    profiles: tuple[str, ...],
    host: str | None,
    port: int | None,
    auto_port: bool,
    target: Target,
) -> int:
    """Start the control plane and its components.

    All components start that have no profile, or an active one; with NAMEs, only these and what they depend on. A NAME
    may be @group. The others can be started later by `tekton start`.

    Stays in the foreground, shows what happens, and stops everything in order on Ctrl-C; a second Ctrl-C kills.
    Components that fail do not stop the others. With --detach the exit status is 1 if a component failed to start.
    """
    target = target.on_this_machine("up")
    if timeout is not None and not detach:
        raise click.UsageError("--timeout goes with --detach: in the foreground, up stays until it is stopped")
    if no_deps and not (names or only):
        raise click.UsageError("--no-deps goes with a NAME: all components are to start, and wait for one another")
    target = target._replace(config=components_file or target.config)
    config = load_config(target, host=host, port=port, profiles=profiles or None)
    selection = _selection(config, (*names, *only), no_deps, profiles)
    instance = Instance(config.data_dir)
    _refuse_if_owned(instance)
    chosen = _chosen(config, selection)
    if not quiet:
        warn_of(unmet_dependencies(chosen.components, config.components))
    if auto_port:
        port = _free_port(config) or port
    given: dict[str, Sequence[object]] = {
        "--data-dir": [config.data_dir],
        "--config": [target.config],
        "--host": [host],
        "--port": [port],
        "--profile": profiles,
        "--only": selection.only,
    }
    with StopSignals() as signals:
        session = Session(
            instance,
            chosen,
            [*_arguments(given), *(["--no-deps"] if no_deps else [])],
            detach=detach,
            quiet=quiet,
            plain=no_progress,
            named=target.words,
        )
        signals.listen(session.request_stop)
        return session.run(timeout)


def _selection(config: "TektonConfig", names: tuple[str, ...], no_deps: bool, profiles: tuple[str, ...]) -> "Selection":
    """What is to be started. Raises the errors for names, groups and profiles that do not exist."""
    from tekton.cli.components import unknown_component
    from tekton.utils.config_selection import Selection

    chosen = expand(names, {name: spec.groups for name, spec in config.components.items()})
    for name in chosen:
        if name not in config.components:
            raise unknown_component(name, list(config.components))
    _check_profiles(config, profiles)
    return Selection(config.profiles, chosen, no_deps)


def _check_profiles(config: "TektonConfig", profiles: tuple[str, ...]) -> None:
    from tekton.utils.tekton_ids import did_you_mean

    known = {profile for spec in config.components.values() for profile in spec.profiles}
    mistakes = [
        Mistake("--profile", 0, 0, "", f"no component has the profile {profile!r}", did_you_mean(profile, known))
        for profile in profiles
        if profile not in known
    ]
    if mistakes:
        raise ConfigurationError(mistakes)


def _chosen(config: "TektonConfig", selection: "Selection") -> "TektonConfig":
    """*config* with only those components that start."""
    names = selection.names(config.components)
    specs = selection.restrict(config.components)
    return dataclasses.replace(config, components={name: spec for name, spec in specs.items() if name in names})


def _refuse_if_owned(instance: Instance) -> None:
    try:
        instance.refuse_if_owned()
    except StorageLockedError as error:
        error.hint = (
            "tekton reload makes a changed configuration hold there, tekton attach shows what it does, "
            f"tekton down --data-dir {instance.data_dir} stops it"
        )
        raise


def _free_port(config: "TektonConfig") -> int | None:
    from tekton.cli.address import shifted

    theirs = {spec.port for spec in config.components.values() if spec.port is not None}
    shift = shifted(config.host, config.port, theirs)
    if shift is None:
        return None
    say(f"port {config.port} is in use by {shift.owner}; listening on {shift.port} instead")
    return shift.port


def _arguments(options: dict[str, Sequence[object]]) -> list[str]:
    """The command line that says *options*; those that are None are left out."""
    return [f"{name}={value}" for name, values in options.items() for value in values if value is not None]
