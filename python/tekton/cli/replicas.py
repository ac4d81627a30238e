"""The verbs about instances: drain takes traffic away from them, scale has more or fewer."""

from collections.abc import Mapping

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.components import each
from tekton.cli.names import expand_running
from tekton.cli.options import Target, duration, target_options
from tekton.cli.render import elapsed, plural, say
from tekton.clock import SYSTEM_CLOCK

_MOST = 100


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Give the traffic back.")
@click.option("--instance", metavar="UUID", help="One instance only. Default: all of the component.")
@target_options
def drain(names: tuple[str, ...], undo: bool, instance: str | None, target: Target) -> int:
    """Take traffic away from components, which go on running.

    Discovery does not name them any more, so that callers go to others; what depends on them is not concerned. It lasts
    until it is undone or the component is started anew.
    """
    client = connect(target)
    return each(expand_running(client, names), lambda name: _drain(client, name, instance, undo))


def _drain(client: Client, name: str, instance: str | None, undo: bool) -> None:
    body = {"serving": undo} | ({} if instance is None else {"instance_uuid": instance})
    answer = client.post(component_path(name, "drain"), body=body)
    count = plural(len(answer["instances"]), "instance")
    say(f"{name}  {'takes traffic again' if undo else 'takes no more traffic'} ({count})")


class _Count(click.ParamType[tuple[str, int]]):
    """`hermes=3`."""

    name = "NAME=N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        name, _, count = str(value).partition("=")
        if not name or not (count.isascii() and count.isdecimal() and 1 <= int(count) <= _MOST):
            self.fail(f"{value!r} is not a name and a number from 1 to {_MOST}, such as worker=3", param, ctx)
        return name, int(count)


@click.command()
@click.argument("counts", metavar="NAME=N...", nargs=-1, required=True, type=_Count())
@click.option("--no-wait", is_flag=True, help="Ask for it and return at once.")
@click.option("--timeout", callback=duration, metavar="TIME", help="How long to wait. Default: as long as it takes.")
@target_options
def scale(counts: tuple[tuple[str, int], ...], no_wait: bool, timeout: float | None, target: Target) -> int:
    """Have another number of replicas of components.

    The others are left alone. It holds until the component's configuration changes, or the system is started anew.
    """
    client = connect(target)
    wanted = dict(counts)
    query = {} if no_wait else {"wait": 1}
    return each(tuple(wanted), lambda name: _scale(client, name, wanted[name], query, timeout))


def _scale(client: Client, name: str, count: int, query: Mapping[str, object], timeout: float | None) -> None:
    since = SYSTEM_CLOCK.monotonic()
    client.post(component_path(name, "scale"), query, body={"replicas": count}, timeout=timeout)
    done = f"in {elapsed(SYSTEM_CLOCK.monotonic() - since)}" if query else "requested"
    say(f"{name}  {plural(count, 'replica')} {done}")
