"""The verb init: a small system to begin with, which runs at once. Nothing that exists is touched."""

import socket
from pathlib import Path

import click

from tekton.cli.config import write_schemas
from tekton.cli.options import Target, target_options
from tekton.cli.problems import FileProblemError, PathTakenError
from tekton.cli.render import say
from tekton.cli.starter import DATA_DIR, SCHEMAS, files_for, ports_for

_TRIES = 50


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@target_options
def init(directory: Path, target: Target) -> None:
    """Write a small system to begin with.

    Two components, a configuration, and a README that explains them; they need nothing but Python, and `tekton up` runs
    them at once. The data is kept in the folder .tekton, and the ports depend on the DIRECTORY, so that several systems
    can run side by side. A file that exists is never overwritten.
    """
    target.on_this_machine("init")
    place = directory.absolute().resolve()
    files = files_for(place, *_free_ports(place))
    if present := [name for name in files if (place / name).exists()]:
        raise PathTakenError(directory, f"has {', '.join(present)} already; nothing was written")
    try:
        _write(place, files)
    except OSError as error:
        raise FileProblemError(Path(error.filename or place), f"cannot be written: {error.strerror}") from error
    for name in files:
        click.echo(directory / name)
    _say_what_next(directory)


def _write(place: Path, files: dict[str, str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / DATA_DIR).mkdir(mode=0o700, exist_ok=True)
    write_schemas(place / SCHEMAS)
    for name, text in files.items():
        with (place / name).open("x", encoding="utf-8") as file:
            file.write(text)


def _free_ports(place: Path) -> tuple[int, int]:
    """The ports that belong to *place*; others when somebody has them now."""
    candidates = (ports_for(place / str(number) if number else place) for number in range(_TRIES))
    return next((ports for ports in candidates if all(map(_is_free, ports))), ports_for(place))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _say_what_next(directory: Path) -> None:
    say("\nNext:")
    if directory != Path("."):
        say(f"  cd {directory}")
    say("  tekton up -d      start it")
    say("  tekton ps         see what runs")
    say("  tekton logs -f    see what it says; README.md says more")
