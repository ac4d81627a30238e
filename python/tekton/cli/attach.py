"""The verb attach: follow a system that runs already, in the foreground, as `up` does."""

import click

from tekton.cli.client import Client, connect, data_dir
from tekton.cli.instance import Instance
from tekton.cli.options import Target, target_options
from tekton.cli.problems import DONE
from tekton.cli.progress import Expected, Progress
from tekton.cli.render import counts, say
from tekton.cli.show import Show, choose
from tekton.cli.unit_names import UnitNames
from tekton.cli.watch import watch
from tekton.utils.tekton_errors import TransportError


@click.command()
@click.option("--no-progress", is_flag=True, help="A line per change, on a terminal too.")
@target_options
def attach(no_progress: bool, target: Target) -> int:
    """Follow a running system, as up does.

    Shows how far its start has come, then a line per change. Ctrl-C leaves the system running. When the system is
    stopped by somebody else, attach ends.
    """
    client = connect(target)
    system = client.get("/api/system")
    expected = [
        Expected(view["component_id"], tuple(view["dependencies"]), view["port"]) for view in system["components"]
    ]
    progress = Progress(expected, system["started_at"])
    units = UnitNames(client)
    show = choose(progress, client, quiet=False, plain=no_progress, units=units)
    try:
        _follow(client, progress, show, units)
    except KeyboardInterrupt:
        show.finish()
        say("detached: the system runs on; tekton down stops it")
    except TransportError:
        if target.url is not None or Instance(data_dir(target)).owner_pid is not None:
            raise
        say("stopped")
    finally:
        show.finish()
    return DONE


def _follow(client: Client, progress: Progress, show: Show, units: UnitNames) -> None:
    """Tell what happens, for as long as the control plane does."""
    settled = False
    for piece in watch(client):
        units.learn(piece.records)
        progress.apply(piece)
        show.update(piece)
        if not settled and progress.settled:
            settled = True
            show.finish()
            say(f"  {counts(row.state for row in progress.rows.values())}")
            say(f"  attached to {client.address}; Ctrl-C leaves it running")
