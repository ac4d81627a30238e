"""The verb msg: messages of the bus, said and overheard.

What it publishes is from whoever it acts as (`tekton auth whoami`). Content is JSON; what is no JSON is a text.
"""

import json
from pathlib import Path
from typing import Any

import click

from tekton.cli.client import Client, connect
from tekton.cli.content import content_of
from tekton.cli.msg_consumer import consumer
from tekton.cli.msg_dead import dead, place
from tekton.cli.msg_watch import watch
from tekton.cli.options import Target, output_options, some_time, target_options
from tekton.cli.render import Column, clean, harmless, print_items, say, short_size, table, to_json
from tekton.cli.template import Template
from tekton.utils.tekton_errors import InvalidSubjectError

Json = dict[str, Any]

TYPES = ("request", "response", "event", "notification", "command", "error")
"""What a message can be for."""

MAX_WAIT = 60.0
"""Seconds for which the control plane waits for an answer at most."""

PATIENCE = 5.0
"""Seconds for which a control plane that is started again is waited for."""

_STREAMS = (
    Column("STREAM"),
    Column("MESSAGES", numeric=True),
    Column("SIZE", numeric=True, spare=1),
    Column("WAITING", numeric=True),
    Column("CONSUMERS", spare=2),
    Column("SUBJECTS"),
)
_FIELDS = (
    "name",
    "subjects",
    "configured",
    "messages",
    "size",
    "first",
    "last",
    "dropped",
    "max_messages",
    "max_bytes",
    "max_age",
    "dedupe_window",
    "work_queue",
    "consumers",
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
@target_options
@click.pass_context
def msg(context: click.Context, target: Target) -> None:
    """Send messages, and watch those of others.

    A subject is tokens with dots between them, as in orders.new. In a pattern, * is one token and a last > all that
    follow.
    """
    context.obj = target


@msg.command()
@click.argument("subject", metavar="SUBJECT")
@click.argument("content", metavar="[CONTENT|-]", required=False)
@click.option("--type", "kind", type=click.Choice(TYPES), default="event", show_default=True, help="What it is for.")
@click.option("--reply", metavar="SUBJECT", help="Where an answer is to go.")
@click.option("--file", type=_FILE, metavar="FILE", help="Take the content from a file.")
@output_options("text", "json")
@target_options
def send(
    *, subject: str, content: str | None, kind: str, reply: str | None, file: Path | None, output: str, target: Target
) -> None:
    """Publish a message.

    CONTENT is JSON, or else a text; - is stdin. Without, it is null. Printed is its number, with the stream that has it
    on the disk, if one takes it.
    """
    _check(subject)
    message = {"message_type": kind, "content": content_of(content, file)}
    query = {"subject": subject} if reply is None else {"subject": subject, "reply": reply}
    receipt = _connected(target).post("/api/messages", query, body=message)
    if output == "json":
        click.echo(to_json(receipt, indent=2))
        return
    if receipt["duplicate"]:
        say("it was there before")
    click.echo(place(receipt))


@msg.command()
@click.argument("subject", metavar="SUBJECT")
@click.argument("content", metavar="[CONTENT|-]", required=False)
@click.option("--file", type=_FILE, metavar="FILE", help="Take the content from a file.")
@click.option(
    "--timeout",
    callback=some_time(MAX_WAIT),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long to wait, at most 1m.",
)
@click.option("-r", "--raw", is_flag=True, help="A text as it is, without quotes.")
@click.option(
    "-o", "--output", type=click.Choice(("content", "json")), default="content", show_default=True, help="The format."
)
@target_options
def request(
    *,
    subject: str,
    content: str | None,
    file: Path | None,
    timeout: float,
    raw: bool,
    output: str,
    target: Target,
) -> None:
    """Ask, and print the answer.

    CONTENT is as for send. Printed is what the answer says, or with -o json the whole message. An answer that says what
    failed is an error.
    """
    _check(subject)
    message = {"message_type": "request", "content": content_of(content, file)}
    query = {"subject": subject, "timeout": timeout}
    answer = _connected(target).post("/api/requests", query, body=message, timeout=timeout + 5)
    if answer["message_type"] == "error" and output != "json":
        raise _failure(answer)
    if output == "json":
        click.echo(to_json(answer, indent=2))
    elif raw and isinstance(answer["content"], str):
        click.echo(harmless(answer["content"]))
    else:
        click.echo(to_json(answer["content"], indent=2))


@msg.command()
@output_options("table", "json", "jsonl", "name", fields=lambda: _FIELDS)
@target_options
def streams(output: str | Template, target: Target) -> None:
    """List the streams.

    Waiting is what their consumers have not begun with.
    """
    found = connect(target).get("/api/streams")
    if output != "table":
        print_items(output, found, "items", name="name")
        return
    for line in table(_STREAMS, [_stream_row(stream) for stream in found["items"]]):
        click.echo(line)


msg.add_command(consumer)
msg.add_command(watch)
msg.add_command(dead)


def _connected(target: Target) -> Client:
    """A client of the control plane, which may be being started again, as whoever watches waits for it."""
    client = connect(target)
    client.await_restart(PATIENCE)
    return client


def _check(subject: str) -> None:
    """Raise InvalidSubjectError for one that is empty, which is no parameter for the control plane."""
    if not subject:
        raise InvalidSubjectError(subject, "is no subject: it is empty")


def _failure(answer: Json) -> Exception:
    """The error that an answer tells of."""
    from tekton.mcp.error_message import error_of
    from tekton.mcp.message import Message

    error = error_of(Message.from_json(json.dumps(answer)))
    assert error is not None, "the answer is one that says what failed"
    if error.code == "internal":
        sender = answer["context"]["sender"]
        error.hint = f"the answer is from {sender}: tekton logs {sender}"
    return error


def _waiting(consumers: list[Json]) -> str:
    more = "+" if any(one["waiting_more"] for one in consumers) else ""
    return f"{sum(one['waiting'] for one in consumers)}{more}"


def _stream_row(stream: Json) -> list[str]:
    consumers = stream["consumers"]
    return [
        stream["name"],
        str(stream["messages"]),
        short_size(stream["size"]),
        _waiting(consumers) if consumers else "-",
        clean(",".join(one["name"] for one in consumers) or "-"),
        clean(",".join(stream["subjects"])),
    ]
