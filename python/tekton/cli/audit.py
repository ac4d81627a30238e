"""The verb audit: who changed what, and whether that is still what was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tekton.cli.client import connect, data_dir
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import Column, clean, plural, say, table, to_json
from tekton.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from tekton.core.audit.heads import Check
    from tekton.core.audit.verification import Verdict

_COLUMNS = (
    Column("TIME"),
    Column("ACTOR"),
    Column("ACTION"),
    Column("TARGET"),
    Column("OUTCOME"),
    Column("FROM", spare=2),
    Column("DETAIL", spare=1),
)
_FILE = click.Path(dir_okay=False, path_type=Path, resolve_path=True)


@click.group(invoke_without_command=True)
@click.option("--actor", metavar="NAME", help="Only what this subject did.")
@click.option("--action", metavar="ACTION", help="Only this action, such as component.kill.")
@click.option("--target", "about", metavar="NAME", help="Only what was done to this.")
@click.option("--since", callback=duration, metavar="TIME", help="Only what happened within this time, as in 2h.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@output_options("table", "json")
@target_options
@click.pass_context
def audit(
    context: click.Context,
    *,
    actor: str | None,
    action: str | None,
    about: str | None,
    since: float | None,
    limit: int,
    output: str,
    target: Target,
) -> None:
    """Show who changed what.

    The newest entries of the audit log, oldest first. An outcome "intent" was about to be done; a later entry says what
    came of it.
    """
    context.obj = target
    if context.invoked_subcommand is not None:
        return
    after = None if since is None else SYSTEM_CLOCK.time() - since
    wanted = {"actor": actor, "action": action, "target": about, "since": after, "limit": limit}
    found = connect(target).get("/api/audit", {name: str(one) for name, one in wanted.items() if one is not None})
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    for line in table(_COLUMNS, [_row(entry) for entry in reversed(found["items"])]):
        click.echo(line)


@audit.command()
@click.argument("path", type=_FILE, required=False)
@click.option("--heads", type=_FILE, metavar="FILE", help="Signed heads. Default: those of the data directory.")
@output_options("text", "json")
@target_options
def verify(path: Path | None, heads: Path | None, output: str, target: Target) -> None:
    """Find out whether the audit log is what was written.

    Reads the database of the data directory, whether or not it is in use, or the backup at PATH. Says which entries
    were changed, moved, put in or taken out, and whether the end was cut off.
    """
    from tekton.utils.tekton_errors import AuditBrokenError

    target = target.on_this_machine("audit verify")
    directory = data_dir(target)
    database = path or directory / "tekton.db"
    verdict = _verify(database, heads or _heads(target, directory), _check(target, directory), complete=path is None)
    if output == "json":
        import msgspec

        click.echo(to_json({**msgspec.to_builtins(verdict), "sound": verdict.sound}, indent=2))
    if not verdict.sound:
        raise AuditBrokenError(str(database), verdict.problems)
    if output == "text":
        click.echo(_sound(verdict))
    for note in _notes(verdict):
        say(note)


def _verify(database: Path, heads: Path, check: "Check", *, complete: bool) -> "Verdict":
    from tekton.core.audit.file import verify_file
    from tekton.core.audit.heads import HeadFile
    from tekton.core.component_lifecycle.database import opening

    with opening(heads):
        signed, unreadable = HeadFile(heads).read()
    if unreadable:
        say(f"{plural(unreadable, 'line')} of {heads} cannot be read")
    return verify_file(database, signed, check, complete=complete)


def _heads(target: Target, directory: Path) -> Path:
    """Where the configuration has the signed heads written."""
    from tekton.cli.client import load_config
    from tekton.core.audit.heads import FILE_NAME
    from tekton.utils.tekton_errors import ConfigurationError

    try:
        return load_config(target).audit_heads or directory / FILE_NAME
    except ConfigurationError:
        return directory / FILE_NAME


def _check(target: Target, directory: Path) -> "Check":
    from tekton.auth.key_file import KeyFile
    from tekton.auth.keys import SigningKey
    from tekton.cli.client import load_config
    from tekton.core.audit.signatures import checker
    from tekton.utils.tekton_errors import ConfigurationError

    try:
        secret = load_config(target).jwt_secret
    except ConfigurationError:
        secret = None
    keys = [] if secret is None else [SigningKey.of_secret(secret)]
    file = KeyFile(directory)
    keys += file.load_retired()
    # Looking must not make keys where there are none.
    return checker(keys + file.load() if file.path.exists() else keys)


def _sound(verdict: "Verdict") -> str:
    if not verdict.entries:
        return "the audit log is empty"
    return f"sound: {_entries(verdict.entries)}, {verdict.first} to {verdict.last}"


def _notes(verdict: "Verdict") -> list[str]:
    notes = [f"signed heads vouch for everything up to entry {verdict.vouched}"] if verdict.vouched else []
    if verdict.entries and not verdict.vouched:
        notes.append("no signed head vouches for it: whoever can write the database could have made all of it")
    if verdict.unchecked:
        notes.append(f"{plural(verdict.unchecked, 'head')} could not be checked: the key is not known any more")
    notes += [
        f"a backup was restored at entry {seq}; what was lost then is missing before it" for seq in verdict.restores
    ]
    return notes


def _entries(number: int) -> str:
    return f"{number} entry" if number == 1 else f"{number} entries"


def _row(entry: dict[str, Any]) -> list[str]:
    from datetime import datetime

    time = datetime.fromtimestamp(entry["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    texts = (entry[name] for name in ("actor", "action", "target", "outcome", "address", "detail"))
    return [time, *(clean(text) or "-" for text in texts)]
