"""The verb auth: the credential of a data directory, and as whom this command line acts.

There are owners and strangers so far. The owner is who can enter the run directory, or holds the credential in it.
"""

from typing import NamedTuple

import click

from tekton.cli.client import Client, component_path, connect, data_dir
from tekton.cli.instance import Instance
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import NOT_PERMITTED, say_problem
from tekton.cli.render import to_json
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError

_NOBODY = "tekton"  # no component can be called so


class Caller(NamedTuple):
    """Who the control plane takes this command line for: `owner`, `local` or `stranger`."""

    name: str
    may: str


OWNER = Caller("owner", "everything")
LOCAL = Caller("local", "read, register components and speak for those")
STRANGER = Caller("stranger", "ask whether it is alive")


@click.group()
@target_options
@click.pass_context
def auth(context: click.Context, target: Target) -> None:
    """Show the credential, and whose it is.

    A data directory has one credential, that of its owner. Accounts, roles and tokens that expire come with a later
    version.
    """
    context.obj = target


@auth.command()
@target_options
def token(target: Target) -> int | None:
    """Print the credential of the owner.

    It is a bearer token that never expires and permits everything: for the API over TCP. The Unix socket in the data
    directory needs none.
    """
    instance = Instance(data_dir(target.on_this_machine("auth token")))
    credential = instance.credential
    if credential is not None:
        click.echo(credential)
        return None
    place = instance.run_dir / "credential"
    if place.exists():
        say_problem("unauthenticated", f"{place} is not yours to read", advice="ask its owner")
    else:
        say_problem("unauthenticated", f"there is no credential in {instance.run_dir} yet", advice="tekton up makes it")
    return NOT_PERMITTED


@auth.command()
@output_options("text", "json")
@target_options
def whoami(output: str, target: Target) -> None:
    """Show as whom this command line acts.

    The control plane is asked: owner, a local caller without a credential, or a stranger.
    """
    client = connect(target)
    caller = _caller(client)
    if output == "json":
        click.echo(to_json({"caller": caller.name, "may": caller.may, "through": client.address}, indent=2))
    else:
        click.echo(f"{caller.name}: may {caller.may} (through {client.address})")


def _caller(client: Client) -> Caller:
    """Found by asking for what only the owner may see, and then for what local callers may see as well."""
    try:
        if _may_get(client, component_path(_NOBODY, "logs")):
            return OWNER
    except ComponentNotFoundError:
        return OWNER
    return LOCAL if _may_get(client, "/api/system") else STRANGER


def _may_get(client: Client, path: str) -> bool:
    try:
        client.get(path)
    except TektonError as error:
        if error.code not in ("unauthenticated", "forbidden"):
            raise
        return False
    return True
