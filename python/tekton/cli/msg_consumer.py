"""The verb msg consumer: under which names streams are worked through, and how far that is."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import Client, connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import Column, clean, print_items, say, table, to_json
from tekton.cli.template import Template
from tekton.utils.tekton_errors import ConsumerNotFoundError
from tekton.utils.tekton_ids import did_you_mean

Json = dict[str, Any]

_COLUMNS = (
    Column("STREAM"),
    Column("CONSUMER"),
    Column("OWNER", spare=2),
    Column("WAITING", numeric=True),
    Column("IN FLIGHT", numeric=True),
    Column("AGAIN", numeric=True, spare=3),
    Column("DEAD", numeric=True),
    Column("LOST", numeric=True),
    Column("FILTER", spare=1),
)
_FIELDS = (
    "stream",
    "name",
    "owner",
    "filter",
    "acknowledged",
    "waiting",
    "waiting_more",
    "in_flight",
    "redelivered",
    "dead_letters",
    "lost",
    "ack_wait",
    "max_deliver",
    "backoff",
    "max_in_flight",
)


@click.group()
@target_options
@click.pass_context
def consumer(context: click.Context, target: Target) -> None:
    """Show who works through the streams, and how far that is.

    A consumer is a name, under which some work through a stream together. It stays, with its place in the stream,
    until it is forgotten.
    """
    context.obj = target


@consumer.command("ls")
@click.argument("stream", metavar="[STREAM]", required=False)
@output_options("table", "json", "jsonl", "name", fields=lambda: _FIELDS)
@target_options
def consumer_ls(stream: str | None, output: str | Template, target: Target) -> None:
    """List the consumers, of all streams or of one.

    Again is how often something was handed out once more, dead how much was given up, lost how much
    the limits of the stream have dropped before it was done. With -o name, each is STREAM/CONSUMER, which show and rm
    take as well.
    """
    found = _consumers(connect(target), stream)
    if output == "name":
        for one in found:
            click.echo(f"{one['stream']}/{one['name']}")
        return
    if output != "table":
        print_items(output, {"items": found}, "items", name="name")
        return
    for line in table(_COLUMNS, [_row(one) for one in found]):
        click.echo(line)


@consumer.command()
@click.argument("stream", metavar="STREAM")
@click.argument("name", metavar="CONSUMER", required=False)
@output_options("text", "json")
@target_options
def show(stream: str, name: str | None, output: str, target: Target) -> None:
    """Show one consumer, with how it is served.

    STREAM/CONSUMER will do, too.
    """
    stream, name = _place(stream, name)
    consumers = {one["name"]: one for one in _consumers(connect(target), stream)}
    if name not in consumers:
        raise _not_found(stream, name, consumers)
    if output == "json":
        click.echo(to_json(consumers[name], indent=2))
        return
    for line in _described(consumers[name]):
        click.echo(line)


@consumer.command()
@click.argument("stream", metavar="STREAM")
@click.argument("name", metavar="CONSUMER", required=False)
@target_options
def rm(stream: str, name: str | None, target: Target) -> None:
    """Forget a consumer, and how far it is.

    STREAM/CONSUMER will do, too.

    Whoever works under its name is ended. A component that does begins anew at once, with a new consumer: at the
    beginning of the stream, unless its settings say otherwise.
    """
    stream, name = _place(stream, name)
    client = connect(target)
    try:
        client.delete(f"{stream_path(stream)}/consumers/{quote(name, safe='', errors='surrogateescape')}")
    except ConsumerNotFoundError:
        raise _not_found(stream, name, [one["name"] for one in _consumers(client, stream)]) from None
    say(f"{stream}/{name}  forgotten")


def _place(stream: str, name: str | None) -> tuple[str, str]:
    """The stream and the consumer that are meant by two words, or by one with a slash. Raises UsageError."""
    if name is None:
        stream, _, name = stream.partition("/")
    if not name:
        raise click.UsageError("which consumer? Write STREAM CONSUMER, or STREAM/CONSUMER")
    return stream, name


def _not_found(stream: str, name: str, consumers: Iterable[str]) -> ConsumerNotFoundError:
    error = ConsumerNotFoundError(stream, name)
    error.hint = did_you_mean(name, consumers)
    return error


def _consumers(client: Client, stream: str | None) -> list[Json]:
    streams = client.get("/api/streams")["items"] if stream is None else [client.get(stream_path(stream))]
    return [{"stream": each["name"], **one} for each in streams for one in each["consumers"]]


def stream_path(stream: str) -> str:
    """The path of a stream in the API."""
    return f"/api/streams/{quote(stream, safe='', errors='surrogateescape')}"


def _row(one: Json) -> list[str]:
    return [
        one["stream"],
        one["name"],
        clean(one["owner"] or "-"),
        _waiting(one),
        str(one["in_flight"]),
        str(one["redelivered"]),
        str(one["dead_letters"]),
        str(one["lost"]),
        clean(one["filter"]),
    ]


def _waiting(one: Json) -> str:
    return f"{one['waiting']}+" if one["waiting_more"] else str(one["waiting"])


def _described(one: Json) -> Iterator[str]:
    yield f"{one['stream']}/{one['name']}  {clean(one['filter'])}"
    yield f"belongs to {clean(one['owner'])}" if one["owner"] else "belongs to nobody: all who may consume can use it"
    yield f"done up to {one['acknowledged']}, {one['in_flight']} handed out, {_waiting(one)} waiting"
    yield f"handed out again {one['redelivered']} times, given up {one['dead_letters']}, lost {one['lost']}"
    backoff = ", ".join(f"{delay:g}" for delay in one["backoff"])
    yield f"each has {one['ack_wait']:g} s, up to {one['max_deliver']} times, with {backoff or 'no'} s between"
    yield f"up to {one['max_in_flight']} are handed out at the same time"
