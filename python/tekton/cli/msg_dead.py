"""The verb msg dead: messages with which nobody got done, read from the stream that keeps them."""

from collections.abc import Iterator
from typing import Any

import click

from tekton.cli.client import Client, connect
from tekton.cli.msg_consumer import stream_path
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import DeadLetterNotFoundError
from tekton.cli.render import Column, clean, date_and_time, print_items, table, to_json
from tekton.cli.template import Template

Json = dict[str, Any]

_LETTERS = (
    Column("SEQUENCE", numeric=True),
    Column("TIME", spare=2),
    Column("STREAM", spare=4),
    Column("SUBJECT"),
    Column("CONSUMER", spare=1),
    Column("ATTEMPTS", numeric=True, spare=3),
    Column("REASON"),
)
_LETTER_FIELDS = ("sequence", "time", "subject", "stream", "consumer", "attempts", "reason", "message")
_DEAD = "/api/streams/dead_letters/messages"
_PAGE = 1000


@click.group()
@target_options
@click.pass_context
def dead(context: click.Context, target: Target) -> None:
    """Show the messages with which nobody got done, and send them again."""
    context.obj = target


@dead.command("ls")
@click.option("--stream", metavar="STREAM", help="Only those of this stream.")
@output_options("table", "json", "jsonl", fields=lambda: _LETTER_FIELDS)
@target_options
def dead_ls(stream: str | None, output: str | Template, target: Target) -> None:
    """List the dead letters, the oldest first."""
    client = connect(target)
    letters = [_letter(one) for one in _stored(client, f"tekton.dead.{stream}" if stream else ">")]
    if stream and not letters:
        client.get(stream_path(stream))  # it says that there is no such stream; letters outlast theirs
    if output != "table":
        print_items(output, {"items": letters}, "items", name="sequence")
        return
    for line in table(_LETTERS, [_letter_row(letter) for letter in letters]):
        click.echo(line)


def _sequence(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Callback of an argument that is the number of a dead letter."""
    if value.isascii() and value.isdigit() and int(value):
        return int(value)
    raise click.BadParameter(f"{value!r} is not the number of a dead letter; tekton msg dead ls shows them")


@dead.command()
@click.argument("sequence", metavar="SEQUENCE", callback=_sequence)
@output_options("text", "json")
@target_options
def resend(sequence: int, output: str, target: Target) -> None:
    """Publish a dead letter's message again, as a new one.

    SEQUENCE is the number that `tekton msg dead ls` shows. The dead letter stays.
    """
    client = connect(target)
    page = client.get(_DEAD, {"since": sequence - 1, "limit": 1})["items"]
    if not page or page[0]["sequence"] != sequence:
        raise DeadLetterNotFoundError(sequence)
    letter = _letter(page[0])
    old = letter["message"]
    if letter.get("withheld"):
        problem = f"the message of dead letter {sequence} is not yours to read: it was published to {letter['subject']}"
        raise click.BadParameter(problem, param_hint="SEQUENCE")
    if not isinstance(old, dict):
        raise click.BadParameter(f"the message of dead letter {sequence} is nested too deep", param_hint="SEQUENCE")
    context = {name: old["context"].get(name) for name in ("recipient", "trace_id")}
    new = {
        "message_type": old["message_type"],
        "content": old.get("content"),
        "metadata": old.get("metadata"),
        "context": {name: value for name, value in context.items() if value is not None},
    }
    receipt = client.post("/api/messages", {"subject": letter["subject"]}, body=new)
    if output == "json":
        click.echo(to_json(receipt, indent=2))
    else:
        click.echo(place(receipt))


def place(receipt: Json) -> str:
    """Where a message has come to, for people: `orders 17`, or its number on the bus."""
    return " ".join(str(part) for part in (receipt["stream"], receipt["sequence"]) if part is not None)


def _stored(client: Client, subject: str) -> Iterator[Json]:
    since = 0
    while True:
        page = client.get(_DEAD, {"since": since, "subject": subject, "limit": _PAGE})
        yield from page["items"]
        if page["next"] is None:
            return
        since = page["next"]


def _letter(stored: Json) -> Json:
    return {**stored["message"]["content"], "sequence": stored["sequence"], "time": stored["time"]}


def _letter_row(letter: Json) -> list[str]:
    return [
        str(letter["sequence"]),
        date_and_time(letter["time"]),
        clean(letter["stream"] or "-"),
        clean(letter["subject"]),
        clean(letter["consumer"] or "-"),
        str(letter["attempts"]),
        clean(letter["reason"]),
    ]
