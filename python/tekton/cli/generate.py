"""The verb generate: a system as others run it. Nothing is started."""

import functools
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tekton.cli.client import load_config
from tekton.cli.options import Target, components_file_option, target_options
from tekton.cli.problems import FileProblemError, PathTakenError
from tekton.cli.render import say

if TYPE_CHECKING:
    from tekton.generate.blueprint import Blueprint, Generated

_F = TypeVar("_F", bound=Callable[..., Any])
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


class _Place(NamedTuple):
    """Where generated files go: into a folder, or onto the screen."""

    folder: Path | None
    force: bool

    def put(self, made: "Generated") -> None:
        """Write the files, or show them. What exists stays as it is, unless it was said to replace it."""
        if self.folder is None:
            click.echo(made.shown, nl=False)
            return
        taken = [name for name in made.files if (self.folder / name).exists()]
        if taken and not self.force:
            raise PathTakenError(self.folder, f"has {', '.join(taken)} already; --force replaces it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in made.files.items():
                (self.folder / name).touch(0o600 if name in made.private else 0o666)
                (self.folder / name).write_text(text, "utf-8")
        except OSError as error:
            raise FileProblemError(
                Path(error.filename or self.folder), f"cannot be written: {error.strerror}"
            ) from error
        for name in made.files:
            say(str(self.folder / name))


@click.group()
@target_options
@click.pass_context
def generate(context: click.Context, target: Target) -> None:
    """Make the files with which others run a system.

    From a components.json: an image, Docker Compose, Kubernetes manifests, a systemd unit. They are a beginning, to be
    kept and edited. Nothing of the environment in which they are made gets into them, and a secret only where one is
    written out in tekton.json or security.json.
    """
    context.obj = target


def _options(function: _F) -> _F:
    """Add the options that all have; *function* receives them as `system` and `place`."""

    @functools.wraps(function)
    def with_system(
        *,
        components_file: Path | None,
        image: str | None,
        folder: Path | None,
        force: bool,
        target: Target,
        **rest: Any,
    ) -> Any:
        target = target.on_this_machine("generate")
        system = _blueprint(target._replace(config=components_file or target.config), image)
        return function(system=system, place=_Place(folder, force), **rest)

    options = (
        components_file_option,
        click.option("--image", metavar="NAME", help="The name of the image. Default: that of the folder."),
        click.option(
            "-o",
            "--output",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Write the files into a folder. Default: print.",
        ),
        click.option("--force", is_flag=True, help="Replace files that are there already."),
        target_options,
    )
    decorated: Any = with_system
    for option in reversed(options):
        decorated = option(decorated)
    result: _F = decorated
    return result


@generate.command()
@_options
def dockerfile(system: "Blueprint", place: _Place) -> None:
    """Make the Dockerfile of the system.

    Tekton, the packages of requirements.txt and the folder of the components.json; by itself it runs `tekton up`.
    """
    from tekton.generate.dockerfile import dockerfile as make

    place.put(make(system))


@generate.command()
@_options
def compose(system: "Blueprint", place: _Place) -> None:
    """Make a compose.yaml: the control plane, and a container for each component.

    It builds the image of the Dockerfile beside it, which `tekton generate dockerfile` makes.
    """
    from tekton.generate.compose import compose as make

    place.put(make(system))


@generate.command()
@_options
def k8s(system: "Blueprint", place: _Place) -> None:
    """Make Kubernetes manifests: the control plane, and a Deployment for each component.

    With services, probes, who may reach whom, and a kustomization of it all.
    """
    from tekton.generate.kubernetes import host_name, kubernetes

    hosts = [host_name(part.name) for part in system.parts]
    if double := next((host for host in hosts if hosts.count(host) > 1), None):
        raise click.UsageError(f"two components would be {double} in Kubernetes, where '_' is '-'")
    place.put(kubernetes(system))


@generate.command()
@click.option("--user", metavar="NAME", default="tekton", show_default=True, help="The user that it runs as.")
@_options
def systemd(system: "Blueprint", place: _Place, user: str) -> None:
    """Make a unit that runs the system as a service of this machine.

    It starts `tekton up` in the folder of the components.json. The data directory is that of tekton.json, else a folder
    in /var/lib.
    """
    from tekton.generate.systemd import systemd as make

    if Path(tempfile.gettempdir()) in system.directory.parents:
        say(f"{system.directory} is a folder for a while; move the system to another one, such as /srv/{system.name}")
    place.put(make(system, Path(sys.executable).with_name("tekton"), user))


def _blueprint(target: Target, image: str | None) -> "Blueprint":
    from tekton import __version__
    from tekton.generate.blueprint import blueprint

    config = load_config(target)
    if config.files.components is None:
        raise FileProblemError(config.files.directory, "has no components.json")
    name = image or f"{_image_name(config.files.directory)}:latest"
    return blueprint(config, name, __version__)


def _image_name(directory: Path) -> str:
    """The name of *directory* as far as an image can be called so."""
    return "-".join(_NAME.findall(directory.name.lower())) or "tekton-system"
