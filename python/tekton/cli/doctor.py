"""The verb doctor: what keeps Tekton from working here, and what to do about it."""

import click

from tekton.cli.checks import Check, all_checks
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import FAILED
from tekton.cli.render import plural, say, to_json

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@output_options("text", "json")
@target_options
def doctor(output: str, target: Target) -> int:
    """Look for what keeps Tekton from working.

    Python, the machine, the configuration, the data directory, the control plane, ports, and the programs of the
    components. The exit status is 1 if something is wrong. Nothing is changed.
    """
    checks = []
    for check in all_checks(target.on_this_machine("doctor")):
        checks.append(check)
        if output == "text":
            _print(check)
    wrong = [check for check in checks if check.verdict == "fail"]
    if output == "json":
        click.echo(to_json({"ok": not wrong, "checks": [check._asdict() for check in checks]}, indent=2))
    else:
        doubts = sum(check.verdict == "warn" for check in checks)
        say(f"\n{plural(len(checks), 'check')}: {len(wrong)} failed, {plural(doubts, 'warning')}")
    return FAILED if wrong else 0


def _print(check: Check) -> None:
    click.echo(f"{click.style(f'{check.verdict:<4}', fg=_COLOURS[check.verdict])}  {check.name:<14}  {check.text}")
    if check.advice:
        click.echo(f"      {'':<14}  {check.advice}")
