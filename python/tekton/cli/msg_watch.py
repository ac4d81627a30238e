"""The verb msg watch: messages as they come, over the socket of the control plane."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tekton.cli.client import control_plane
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import clean, clock_time, item_line, say, to_json
from tekton.cli.template import Template
from tekton.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from tekton.bus.envelope import Envelope
    from tekton.utils.bus_client import BusClient
    from tekton.utils.bus_subscription import ClientSubscription

Json = dict[str, Any]

_OF_CONTEXT = ("sender", "recipient", "trace_id", "parent_id", "deadline", "hops")
FIELDS = (
    *("subject", "sequence", "time", "reply", "stream", "message"),
    *(f"message.{name}" for name in ("message_id", "message_type", "timestamp", "content", "metadata", "context")),
    *(f"message.context.{name}" for name in _OF_CONTEXT),
)
"""What a message on its way consists of, and what is in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is watched, from where on, and how many of it."""

    pattern: str
    stream: str | None
    at: float | None
    after: int | None
    queue: str | None
    count: int | None

    def check(self) -> None:
        """Raise UsageError for what means nothing together."""
        if self.stream is None and self.at is not None:
            raise click.UsageError("only a stream knows what was before: name one with --stream, or leave out --since")
        if self.stream is not None and self.queue is not None:
            raise click.UsageError("a stream is read as a whole: leave out --stream or --queue")
        if self.at is not None and self.after is not None:
            raise click.UsageError("--since and --after both say where to begin: leave out one")

    def listen(self, bus: "BusClient") -> "ClientSubscription":
        """Begin."""
        if self.stream is not None:
            return bus.replay(self.stream, since=self.after, at=self.at, pattern=self.pattern)
        return bus.subscribe(self.pattern, queue=self.queue, since=self.after)


@click.command()
@click.argument("pattern", metavar="PATTERN")
@click.option("--stream", metavar="STREAM", help="What this stream has of it, and what comes.")
@click.option("--since", callback=duration, metavar="TIME", help="With --stream: what is no older than that, as in 1h.")
@click.option("--after", type=click.IntRange(min=0), metavar="SEQUENCE", help="Go on behind this number.")
@click.option("--queue", metavar="NAME", help="Share it with all who watch it under this name.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many messages.")
@output_options("text", "json", "jsonl", fields=lambda: FIELDS)
@target_options
def watch(
    *,
    pattern: str,
    stream: str | None,
    since: float | None,
    after: int | None,
    queue: str | None,
    count: int | None,
    output: str | Template,
    target: Target,
) -> None:
    """Print messages as they come.

    Without --stream, what is published from now on. When the control plane is started again meanwhile, it goes on; what
    was missed is said. A template has {message.content}, {message.context.sender} and so on, too.
    """
    if output == "json" and count is None:
        raise click.UsageError("a stream has no end: use -o jsonl, or say how many with -n")
    at = None if since is None else SYSTEM_CLOCK.time() - since
    wanted = Wanted(pattern, stream, at, after, queue, count)
    wanted.check()
    found = asyncio.run(_watch(wanted, output, target))
    if output == "json":
        click.echo(to_json({"messages": found}, indent=2))


async def _watch(wanted: Wanted, output: str | Template, target: Target) -> list[Json]:
    """Print what comes; what is to be printed as one document is returned."""
    found: list[Json] = []
    async for shown in _messages(wanted, target):
        if output == "json":
            found.append(shown)
        else:
            click.echo(line(shown) if output == "text" else item_line(output, shown, name="subject"))
    return found


async def _messages(wanted: Wanted, target: Target) -> AsyncIterator[Json]:
    from tekton.utils.bus_client import BusClient

    left = wanted.count
    async with BusClient(control_plane(target)) as bus, wanted.listen(bus) as subscription:
        async for envelope in subscription:
            _say_gap(subscription.gap)
            yield _shown(envelope)
            left = None if left is None else left - 1
            if left == 0:
                return


def line(shown: Json) -> str:
    """One message for people: `10:44:01.002  orders.new  event from billing  {"amount":3}`."""
    message = shown["message"]
    who = f"{message['message_type']} from {clean(message['context']['sender'])}"
    return f"{clock_time(shown['time'])}  {clean(shown['subject'])}  {who}  {clean(to_json(message.get('content')))}"


def _shown(envelope: "Envelope") -> Json:
    return {
        "subject": envelope.subject,
        "sequence": envelope.sequence,
        "time": envelope.time,
        "reply": envelope.reply,
        "stream": envelope.stream,
        "message": json.loads(envelope.message.to_json()),
    }


def _say_gap(gap: int) -> None:
    if gap:
        say(f"{'some' if gap < 0 else gap} messages were missed here")
