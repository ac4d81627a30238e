"""The verb log-level: see and change how much the control plane logs while it runs."""

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import say, to_json
from tekton.cli.watch import Record
from tekton.supervisor.log_lines import LEVELS, clock_time

_PATH = "/api/log-levels"


@click.command("log-level")
@click.argument("logger", required=False)
@click.argument("level", type=click.Choice(LEVELS), metavar="[LEVEL]", required=False)
@click.option("--for", "seconds", callback=duration, metavar="TIME", help="After this time, what held before.")
@click.option("--reset", is_flag=True, help="What held before, now.")
@output_options("text", "json")
@target_options
def log_level(
    *, logger: str | None, level: str | None, seconds: float | None, reset: bool, output: str, target: Target
) -> None:
    """Show and change how much the control plane logs.

    From now on LOGGER logs what is of at least LEVEL (debug, info, warning, error or critical), and so do the loggers
    below it (tekton.gateway.app below tekton.gateway); root is above all of them. Without --for it holds until the
    control plane ends.
    """
    if logger is not None and (level is None) is not reset:
        raise click.UsageError("say which LEVEL, or --reset")
    if logger is None and (reset or seconds is not None):
        raise click.UsageError("say which LOGGER")
    client = connect(target)
    if logger is None:
        answer = client.get(_PATH)
    else:
        answer = client.put(_PATH, body={"logger": logger, "level": level, "for": seconds})
    if output == "json":
        click.echo(to_json(answer))
    else:
        _show(answer, logger)


def _show(answer: Record, logger: str | None) -> None:
    if logger is not None and logger not in answer["changed"]:
        say(f"{logger}  as before")
        return
    shown = [logger] if logger is not None else list(answer["levels"])
    width = max(map(len, shown))
    for name in shown:
        click.echo(f"{name:<{width}}  {answer['levels'][name]}{_change(answer['changed'].get(name))}")


def _change(changed: Record | None) -> str:
    if changed is None:
        return ""
    until = "" if changed["until"] is None else f" until {clock_time(changed['until'])}"
    return f"{until}, then {changed['before'] or 'as the logger above it'}" if until else "  (changed)"
