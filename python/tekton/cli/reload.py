"""The verb reload: make a changed configuration hold while the system runs."""

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import say, to_json
from tekton.cli.watch import Record

_LISTED = (
    ("added", "added"),
    ("changed", "changed"),
    ("removed", "removed"),
)


@click.command()
@click.option("--timeout", callback=duration, metavar="TIME", help="How long to wait. Default: as long as it takes.")
@output_options("text", "json")
@target_options
def reload(timeout: float | None, output: str, target: Target) -> None:
    """Read the configuration of a running system anew.

    Components that were added start, those that were removed stop, and of the others only those restart whose process
    is concerned by the change. When the configuration is wrong, all mistakes are told, and the old one goes on to hold
    (exit status 8). The same files are read as by `tekton up`, with the same options.
    """
    report = connect(target).post("/api/system/reload", timeout=timeout)
    if output == "json":
        click.echo(to_json(report))
    else:
        _tell(report)


def _tell(report: Record) -> None:
    for key, word in _LISTED:
        if report[key]:
            say(f"{word}  {', '.join(report[key])}")
    if report["settings"]:
        say(f"holds from now on  {', '.join(report['settings'])}")
    if report["needs_restart"]:
        say(f"holds after tekton down and tekton up  {', '.join(report['needs_restart'])}")
    changed = any(report[key] for key in ("added", "changed", "removed", "settings", "needs_restart"))
    say("reloaded" if changed else "reloaded; nothing has changed")
