"""The verb completion: the script by which a shell completes verbs, options and the names of components."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from tekton.cli.options import Target, target_options

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TEKTON_COMPLETE"
"""The environment variable by which the script asks for words; click answers it."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@target_options
@click.pass_context
def completion(context: click.Context, shell: str, target: Target) -> None:  # noqa: ARG001 - the same everywhere
    """Print a script that completes commands in a shell.

    Verbs, options and their values, and the names of the components that run or are configured.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    # The class of bash would run bash to ask for its version; it may not even be there where the script is printed.
    click.echo(ShellComplete.source(kind(context.find_root().command, {}, "tekton", VARIABLE)))
