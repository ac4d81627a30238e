"""The verb auth: as whom this command line acts, what that may do, and the tokens and API keys of others.

Secrets go to stdout, alone, so that they can be put into a variable or a file; what there is to say goes to stderr.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tekton.cli.client import connect, data_dir
from tekton.cli.instance import Instance
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.problems import NOT_PERMITTED, say_problem
from tekton.cli.render import Column, ago, clean, say, short_duration, table, to_json
from tekton.clock import SYSTEM_CLOCK

_F = TypeVar("_F", bound=Callable[..., Any])

_KEY_COLUMNS = (
    Column("KEY"),
    Column("SUBJECT"),
    Column("ROLES"),
    Column("EXPIRES", spare=2),
    Column("LAST USED", spare=3),
    Column("LABEL", spare=1),
)

_SIGNING_KEY_COLUMNS = (
    Column("KEY"),
    Column("SIGNS"),
    Column("ALGORITHM", spare=2),
    Column("STATE"),
    Column("MADE", spare=1),
    Column("RETIRES"),
)


@click.group()
@target_options
@click.pass_context
def auth(context: click.Context, target: Target) -> None:
    """Show who one is, and give out tokens and keys.

    Who reaches the Unix socket of a data directory, or has the credential in it, is its owner, who may do everything.
    Others get a token, which expires within a day, or an API key, and with it the roles that are bound to them.
    """
    context.obj = target


@auth.command()
@target_options
def credential(target: Target) -> int | None:
    """Print the credential of the owner.

    It permits everything and does not expire. The Unix socket in the data directory needs none; for anything else, a
    token or a key that permits less is the better choice.
    """
    instance = Instance(data_dir(target.on_this_machine("auth credential")))
    if instance.credential is not None:
        click.echo(instance.credential)
        return None
    place = instance.run_dir / "credential"
    if place.exists():
        say_problem("unauthenticated", f"{place} is not yours to read", advice="ask its owner")
    else:
        say_problem("unauthenticated", f"there is no credential in {instance.run_dir} yet", advice="tekton up makes it")
    return NOT_PERMITTED


def _for_whom(function: _F) -> _F:
    options = (
        click.option("--subject", metavar="NAME", help="For whom it is. Default: who you are."),
        click.option(
            "--role", "roles", multiple=True, metavar="ROLE", help="A role that it has (repeatable). Default: all."
        ),
        click.option("--expires-in", callback=duration, metavar="TIME", help="How long it holds, as in 30m or 8h."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _order(subject: str | None, roles: Sequence[str], expires_in: float | None) -> dict[str, object]:
    given = {"subject": subject, "roles": list(roles) or None, "expires_in": expires_in}
    return {name: value for name, value in given.items() if value is not None}


@auth.command()
@_for_whom
@click.option("--audience", metavar="COMPONENT", help="Who is to accept it. Default: the control plane.")
@output_options("text", "json")
@target_options
def token(
    *,
    subject: str | None,
    roles: tuple[str, ...],
    expires_in: float | None,
    audience: str | None,
    output: str,
    target: Target,
) -> None:
    """Print a new token.

    A bearer token for the API over TCP, for yourself with at most your own roles. A token for another SUBJECT needs the
    permission auth:manage; the roles that it names are bound to the subject from then on. A component accepts only
    tokens that were made for it, and the control plane none of these.
    """
    order = _order(subject, roles, expires_in) | ({} if audience is None else {"audience": audience})
    made = connect(target).post("/api/auth/token", body=order)
    if output == "json":
        click.echo(to_json(made, indent=2))
        return
    click.echo(made["token"])
    left = short_duration(made["expires_at"] - SYSTEM_CLOCK.time())
    say(f"a token for {made['subject']} [{', '.join(made['roles'])}] that expires in {left}")


@auth.group()
def key() -> None:
    """Make, list, rotate and remove API keys.

    A key holds until it expires or is removed, and a subject has two at most, so that one can take over from the other.
    """


@key.command()
@_for_whom
@click.option("--label", default="", metavar="TEXT", help="What it is for; shown in lists.")
@output_options("text", "json")
@target_options
def create(
    *, subject: str | None, roles: tuple[str, ...], expires_in: float | None, label: str, output: str, target: Target
) -> None:
    """Print a new API key.

    It is shown this once, and kept nowhere. A key for another SUBJECT needs the permission auth:manage.
    """
    made = connect(target).post("/api/keys", body={**_order(subject, roles, expires_in), "label": label})
    _show_key(made, output)


@key.command()
@click.argument("key_id", metavar="KEY")
@click.option(
    "--overlap", callback=duration, default="1h", show_default=True, metavar="TIME", help="How long the old one holds."
)
@output_options("text", "json")
@target_options
def rotate(key_id: str, overlap: float, output: str, target: Target) -> None:
    """Print another API key in place of KEY, which then ends by itself."""
    made = connect(target).post(f"/api/keys/{_quoted(key_id)}/rotate", body={"overlap": overlap})
    _show_key(made, output)


@key.command(name="list")
@click.option("--subject", metavar="NAME", help="Only the keys of this subject.")
@output_options("table", "json")
@target_options
def list_(subject: str | None, output: str, target: Target) -> None:
    """List API keys, without the keys themselves.

    Your own ones; all of them with the permission auth:manage.
    """
    found = connect(target).get("/api/keys", None if subject is None else {"subject": subject})
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    now = SYSTEM_CLOCK.time()
    for line in table(_KEY_COLUMNS, [_key_row(one, now) for one in found["items"]]):
        click.echo(line)


@key.command()
@click.argument("key_id", metavar="KEY")
@target_options
def remove(key_id: str, target: Target) -> None:
    """Remove an API key at once."""
    gone = connect(target).delete(f"/api/keys/{_quoted(key_id)}")
    say(f"{gone['id']}, a key of {clean(gone['subject'])}, is not accepted any more")


@auth.group(name="signing-key")
def signing_key() -> None:
    """List and rotate the keys that sign tokens and agent cards.

    Those for tokens are rotated by themselves, every 90 days unless `key_life` says otherwise; those for cards are not.
    """


@signing_key.command(name="rotate")
@click.option("--cards", is_flag=True, help="A key that signs agent cards, instead of one that signs tokens.")
@click.option("--void", is_flag=True, help="At once, and accept nothing from before: a key has become known.")
@output_options("text", "json")
@target_options
def rotate_signing_key(*, cards: bool, void: bool, output: str, target: Target) -> None:
    """Make a new key that signs tokens, or agent cards.

    One for tokens is published at once, signs a minute later, and the one before verifies until its last token has
    expired: no token becomes void. One for cards signs at once, beside the one before, which does so for 30 days more.
    Not so with --void.
    """
    use = "cards" if cards else "tokens"
    made = connect(target).post("/api/auth/signing-keys/rotate", body={"overlap": not void, "use": use})
    if output == "json":
        click.echo(to_json(made, indent=2))
        return
    click.echo(made["id"])
    wait = short_duration(max(0.0, made["signs_from"] - SYSTEM_CLOCK.time()))
    if void:
        say(f"it signs from now on, and all {use} from before are void")
    elif cards:
        say("it signs from now on, beside the one before")
    else:
        say(f"it is published, and signs in {wait}")


@signing_key.command(name="list")
@output_options("table", "json")
@target_options
def list_signing_keys(output: str, target: Target) -> None:
    """List the keys that sign tokens and agent cards, without the keys themselves."""
    found = connect(target).get("/api/auth/signing-keys")
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    now = SYSTEM_CLOCK.time()
    for line in table(_SIGNING_KEY_COLUMNS, [_signing_key_row(one, now) for one in found["items"]]):
        click.echo(line)


@auth.command()
@click.argument("text", metavar="TOKEN", required=False)
@click.option("--id", "token_id", metavar="ID", help="The token with this id, instead of the token itself.")
@click.option("--subject", metavar="NAME", help="All tokens that this subject has now.")
@click.option("--bar", is_flag=True, help="With --subject: and nothing else of it either, keys included.")
@click.option("--restore", is_flag=True, help="With --subject: accept again what it is given from now on.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="With --subject: only this role. May be repeated.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the audit log.")
@target_options
def revoke(
    *,
    text: str | None,
    token_id: str | None,
    subject: str | None,
    bar: bool,
    restore: bool,
    roles: tuple[str, ...],
    reason: str,
    target: Target,
) -> None:
    """Accept a token no more.

    A TOKEN of your own, or any with the permission auth:manage. `-` reads it from stdin, so that no other process sees
    it. It holds at once, and after a restart.
    """
    if sum(given is not None for given in (text, token_id, subject)) != 1:
        raise click.UsageError("name one of TOKEN, --id and --subject")
    if (bar or restore or roles) and subject is None:
        raise click.UsageError("--bar, --restore and --role are for a --subject")
    if bar + restore + bool(roles) > 1:
        raise click.UsageError("--bar, --restore or --role, one of them")
    shown = sys.stdin.read().strip() if text == "-" else text
    named = {"token": shown, "token_id": token_id, "subject": subject}
    order = {**named, "bar": bar, "restore": restore, "roles": list(roles), "reason": reason}
    body = {name: value for name, value in order.items() if value}
    revoked = connect(target).post("/api/auth/revoke", body=body)["revoked"]
    say(f"{revoked} is accepted again" if restore else f"{revoked} is not accepted any more")


@auth.command()
@output_options("text", "json")
@target_options
def whoami(output: str, target: Target) -> None:
    """Show as whom this command line acts, and what that may do."""
    client = connect(target)
    who = client.get("/api/auth/whoami")
    if output == "json":
        click.echo(to_json({**who, "through": client.address}, indent=2))
        return
    roles = ", ".join(who["roles"]) or "no role"
    click.echo(f"{clean(who['subject'])}: {roles} (by {_proofs[who['via']]}, through {client.address})")
    for line in _what(who):
        click.echo(f"  {line}")


@auth.command(name="can-i")
@click.argument("action")
@click.argument("component_id", metavar="[COMPONENT]", required=False)
@output_options("text", "json")
@target_options
def can_i(action: str, component_id: str | None, output: str, target: Target) -> int | None:
    """Ask whether this command line may do something.

    ACTION is a permission such as components:control, or the name of an action such as manage_components; without a
    COMPONENT it is meant for all of them. The exit status is 0 for yes and 7 for no.
    """
    query = {"action": action} | ({} if component_id is None else {"component_id": component_id})
    answer = connect(target).get("/api/auth/can-i", query)
    click.echo(to_json(answer, indent=2) if output == "json" else "yes" if answer["allowed"] else "no")
    return None if answer["allowed"] else NOT_PERMITTED


_proofs = {
    "socket": "the Unix socket",
    "credential": "its credential",
    "token": "a token",
    "key": "an API key",
    "none": "nothing shown",
}


def _what(who: dict[str, Any]) -> list[str]:
    if set(who["permissions"]) >= {"auth:manage", "components:configure", "system:control"}:
        return ["may do everything"]
    lines = [f"may {permission}" for permission in who["permissions"]]
    lines += [f"may {permission} for {name}" for permission, name in (*who["own"], *who["matching"])]
    return lines or ["may ask whether the control plane is alive"]


def _show_key(made: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(to_json(made, indent=2))
        return
    click.echo(made["key"])
    ends = made["expires_at"]
    until = "until it is removed" if ends is None else f"for {short_duration(ends - SYSTEM_CLOCK.time())}"
    say(f"key {made['id']} for {made['subject']} [{', '.join(made['roles'])}] holds {until}; it is not shown again")


def _key_row(one: dict[str, Any], now: float) -> list[str]:
    ends, used = one["expires_at"], one["last_used"]
    left = "never" if ends is None else f"in {short_duration(ends - now)}" if ends > now else "expired"
    last = "never" if used is None else ago(now - used)
    return [one["id"], clean(one["subject"]), clean(", ".join(one["roles"])), left, last, clean(one["label"])]


def _signing_key_row(one: dict[str, Any], now: float) -> list[str]:
    ends = one["retires_at"]
    left = "-" if ends is None else f"in {short_duration(ends - now)}" if ends > now else "now"
    made = "-" if one["algorithm"] == "HS256" else ago(now - one["published_at"])
    return [one["id"], one["use"], one["algorithm"], one["state"], made, left]


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="", errors="surrogateescape")
