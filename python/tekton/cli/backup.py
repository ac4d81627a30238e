"""The verbs backup and restore: a copy of the database, and the way back.

A backup goes through the control plane when one runs, so that nothing has to stop for it; a restore is made only where
nothing runs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tekton.cli.client import connect, data_dir
from tekton.cli.confirm import confirm
from tekton.cli.instance import Instance
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import FAILED
from tekton.cli.render import elapsed, plural, say, size, to_json
from tekton.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from tekton.core.component_lifecycle.restore import Restoration

_FILE = click.Path(dir_okay=False, path_type=Path, resolve_path=True)


@click.command()
@click.argument("path", type=_FILE, required=False)
@output_options("text", "json")
@target_options
def backup(path: Path | None, output: str, target: Target) -> None:
    """Write a backup of the database, and of the streams beside it.

    A running system goes on meanwhile. Without a PATH the backup gets a name after the time, in the folder backups of
    the data directory; the streams have the same name with `.bus` in it. A file that exists is never overwritten.
    """
    since = SYSTEM_CLOCK.monotonic()
    written = _write(path, target)
    if output == "json":
        click.echo(to_json(written, indent=2))
        return
    for path_written in (written["path"], *written["also"]):
        click.echo(path_written)
    took = elapsed(SYSTEM_CLOCK.monotonic() - since)
    say(f"revision {written['revision']}, {size(written['size_bytes'])}, in {took}")


def _write(path: Path | None, target: Target) -> dict[str, Any]:
    if target.url is None:
        directory = data_dir(target)
        if Instance(directory).owner_pid is None:
            return _write_offline(directory, path)
    order = {} if path is None else {"path": str(path)}
    written: dict[str, Any] = connect(target).post("/api/system/backup", body=order, timeout=None)
    return written


def _write_offline(directory: Path, path: Path | None) -> dict[str, Any]:
    import msgspec

    from tekton.core.component_lifecycle.backup import back_up_offline
    from tekton.service.companions import COMPANIONS

    written: dict[str, Any] = msgspec.to_builtins(back_up_offline(directory, path, SYSTEM_CLOCK.time(), COMPANIONS))
    return written


@click.command()
@click.argument("path", type=_FILE)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_options("text", "json")
@target_options
def restore(path: Path, yes: bool, output: str, target: Target) -> int | None:
    """Put a backup in the place of the database, and of what lies beside it.

    Nothing may run on the data directory. The backup is checked before anything is touched, and what was there is kept.
    What was registered, changed and published after the backup is lost.
    """
    target = target.on_this_machine("restore")
    from tekton.core.component_lifecycle.restore import Restoration
    from tekton.service.companions import COMPANIONS

    instance = Instance(data_dir(target))
    instance.refuse_if_owned()
    with Restoration(instance.data_dir, path, SYSTEM_CLOCK.time(), COMPANIONS) as restoration:
        _tell(restoration)
        if not yes and not confirm(f"restore into {instance.data_dir}?"):
            say("nothing was changed")
            return FAILED
        restored = restoration.carry_out()
    kept = None if restored.kept is None else str(restored.kept)
    if output == "json":
        files = list(map(str, restored.kept_files))
        facts = {**_facts(restoration), "revision": restored.revision, "kept": kept, "kept_files": files}
        click.echo(to_json(facts, indent=2))
    say(f"restored; revisions go on after {restored.revision}")
    if kept is not None:
        say(f"the database that was there is {kept}")
    for file in restored.kept_files:
        if file != restored.kept:
            say(f"kept, too: {file}")
    return None


def _facts(restoration: "Restoration") -> dict[str, Any]:
    present = restoration.present
    return {
        "backup_revision": restoration.backup_revision,
        "present_revision": present.revision,
        "lost_changes": present.lost,
        "also": [one.file for one in restoration.companions],
        "also_lost": restoration.lost,
    }


def _tell(restoration: "Restoration") -> None:
    """Say what a restore would bring back, and what it would lose."""
    present = restoration.present
    made = "" if restoration.last_change is None else f", last changed {_time(restoration.last_change)}"
    say(f"the backup is sound: revision {restoration.backup_revision}{made}")
    for one in restoration.companions:
        count = restoration.lost[one.file]
        lost = "nobody can tell how much" if count is None else plural(count, one.unit)
        say(f"{one.file} will be as it was then, too: {lost} will be lost")
    if present.problem is not None:
        say(f"the database that is there cannot be used: {present.problem}")
    if present.revision is None:
        return
    lost = "nobody can tell how much" if present.lost is None else plural(present.lost, "change")
    say(f"the registry has acknowledged up to revision {present.revision}: {lost} will be lost")


def _time(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
