"""The verb version: of this program, and of the control plane that runs."""

import platform
from typing import Any

import click

import tekton
from tekton.cli.client import connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import to_json
from tekton.utils.tekton_errors import TektonError


@click.command()
@output_options("text", "json")
@target_options
def version(output: str, target: Target) -> None:
    """Show versions."""
    running = _running(target)
    if output == "json":
        own = {"version": tekton.__version__, "python": platform.python_version()}
        click.echo(to_json({**own, "control_plane": running}, indent=2))
        return
    click.echo(own_version())
    if running is not None:
        click.echo(f"control plane {running['version']} (Python {running['python']}, process {running['pid']})")


def own_version() -> str:
    """The version of this program, in a line."""
    return f"tekton {tekton.__version__} (Python {platform.python_version()})"


def _running(target: Target) -> dict[str, Any] | None:
    """What the control plane says of itself; None when there is none to ask."""
    try:
        answer: dict[str, Any] = connect(target).get("/api/version")
    except TektonError:
        return None
    return answer
