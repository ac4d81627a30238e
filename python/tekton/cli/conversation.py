"""The verb conversation: what agents, and people, say to one another."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import Client, connect
from tekton.cli.components import each
from tekton.cli.content import content_of, object_of_text
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.pages import items
from tekton.cli.render import (
    Column,
    ago,
    clean,
    date_and_time,
    harmless,
    item_line,
    paint_name,
    plural,
    print_items,
    say,
    table,
    to_json,
)
from tekton.cli.template import Template
from tekton.cli.watch import reconnecting
from tekton.clock import SYSTEM_CLOCK

Json = dict[str, Any]

_PATH = "/api/conversations"
_COLUMNS = (
    Column("CONVERSATION"),
    Column("MESSAGES", numeric=True),
    Column("CHANGED", spare=2),
    Column("INITIATOR", spare=1),
    Column("PARTICIPANTS"),
)
_FIELDS = (
    "conversation_id", "initiator", "participants", "created_at", "changed_at", "context", "messages", "size_bytes"
)  # fmt: skip
_MESSAGE_FIELDS = ("sequence", "message_id", "timestamp", "sender", "content", "context", "parent_id")
_SHOWN = 20
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
@target_options
@click.pass_context
def conversation(context: click.Context, target: Target) -> None:
    """Show what agents say to one another, and take part.

    Only participants speak in a conversation, and know of it. Whoever begins one takes part in it.
    """
    context.obj = target


@conversation.command("ls")
@output_options("table", "json", "jsonl", "name", fields=lambda: _FIELDS)
@target_options
def list_(output: str | Template, target: Target) -> None:
    """List the conversations in which one takes part."""
    found = list(items(connect(target), _PATH, {}))
    if output != "table":
        print_items(output, {"items": found}, "items", name="conversation_id")
        return
    for line in table(_COLUMNS, [_row(one) for one in found]):
        click.echo(line)


@conversation.command()
@click.argument("participants", metavar="PARTICIPANT...", nargs=-1, required=True)
@click.option("--id", "conversation_id", metavar="ID", help="Its id. Default: a new one.")
@target_options
def begin(participants: tuple[str, ...], conversation_id: str | None, target: Target) -> None:
    """Begin a conversation, and print its id."""
    wanted = {"conversation_id": conversation_id, "participants": list(participants)}
    begun = connect(target).post(_PATH, body={name: one for name, one in wanted.items() if one is not None})
    click.echo(begun["conversation_id"])


@conversation.command()
@click.argument("conversation_id", metavar="CONVERSATION")
@click.option(
    "-n", "--tail", "count", type=click.IntRange(0), default=_SHOWN, show_default=True, help="So many messages."
)
@click.option("--after", type=click.IntRange(min=0), metavar="SEQUENCE", help="Go on behind this number instead.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is said from now.")
@output_options("text", "json", "jsonl", fields=lambda: _MESSAGE_FIELDS)
@target_options
def show(
    *, conversation_id: str, count: int, after: int | None, follow: bool, output: str | Template, target: Target
) -> None:
    """Show a conversation, and what was said last in it."""
    if follow and output == "json":
        raise click.UsageError("a conversation that is followed has no end: use -o jsonl with --follow")
    client = connect(target)
    found = client.get(_path(conversation_id))
    begin_behind = max(0, found["messages"] - count) if after is None else after
    messages = _messages(client, conversation_id, begin_behind, follow=follow)
    if output == "json":
        click.echo(to_json({"conversation": found, "messages": list(messages)}, indent=2))
        return
    if output == "text":
        for line in _heading(found):
            click.echo(line)
    numbers: dict[str, int] = {}
    for one in messages:
        numbers[one["message_id"]] = one["sequence"]
        click.echo(_said(one, numbers) if output == "text" else item_line(output, one, name="sequence"))


@conversation.command("say")
@click.argument("conversation_id", metavar="CONVERSATION")
@click.argument("content", metavar="[CONTENT|-]", required=False)
@click.option("--file", type=_FILE, metavar="FILE", help="Take the content from a file.")
@click.option("--context", metavar="JSON", help="What all are to know from now on: an object.")
@click.option("--reply", "parent_id", metavar="MESSAGE", help="What it answers: the number of a message, or its id.")
@output_options("text", "json")
@target_options
def say_(
    *,
    conversation_id: str,
    content: str | None,
    file: Path | None,
    context: str | None,
    parent_id: str | None,
    output: str,
    target: Target,
) -> None:
    """Say something in a conversation, and print its number.

    CONTENT is JSON, or else a text; - is stdin. It may be left out where a --context says all.
    """
    if content is None and file is None and context is None:
        raise click.UsageError("there is nothing to say: give CONTENT, --file or --context")
    message: Json = {"content": content_of(content, file)}
    if context is not None:
        message["context"] = object_of_text("--context", context)
    client = connect(target)
    if parent_id is not None:
        message["parent_id"] = _message_id(client, conversation_id, parent_id)
    receipt = client.post(_path(conversation_id, "messages"), body=message)
    click.echo(to_json(receipt, indent=2) if output == "json" else str(receipt["sequence"]))


@conversation.command()
@click.argument("conversation_id", metavar="CONVERSATION")
@click.option("-n", "--sentences", type=click.IntRange(1, 50), help="So many sentences, at most.")
@output_options("text", "json")
@target_options
def summary(conversation_id: str, sentences: int | None, output: str, target: Target) -> None:
    """Print the sentences that say most of a conversation.

    They are taken out as they are; nothing is made up.
    """
    query = None if sentences is None else {"sentences": sentences}
    found = connect(target).get(_path(conversation_id, "summary"), query)
    click.echo(to_json(found, indent=2) if output == "json" else harmless(found["summary"]))


@conversation.command()
@click.argument("conversation_id", metavar="CONVERSATION")
@click.option(
    "--format", "kind", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True, help="As what."
)
@target_options
def export(conversation_id: str, kind: str, target: Target) -> None:
    """Print all of a conversation, as a document."""
    shown = harmless if sys.stdout.isatty() else str
    for piece in connect(target).text(_path(conversation_id, "export"), {"format": kind}):
        click.echo(shown(piece), nl=False)


@conversation.command()
@click.argument("conversation_ids", metavar="CONVERSATION...", nargs=-1, required=True)
@target_options
def rm(conversation_ids: tuple[str, ...], target: Target) -> int:
    """Forget conversations, with all that was said in them."""
    client = connect(target)
    return each(conversation_ids, lambda conversation_id: _forget(client, conversation_id))


def _forget(client: Client, conversation_id: str) -> None:
    client.delete(_path(conversation_id))
    say(f"{conversation_id}  forgotten")


def _path(conversation_id: str, what: str = "") -> str:
    return f"{_PATH}/{quote(conversation_id, safe='', errors='surrogateescape')}{f'/{what}' if what else ''}"


def _message_id(client: Client, conversation_id: str, given: str) -> str:
    """The id of the message that *given* names, by its number or its id. Raises UsageError."""
    if not (given.isascii() and given.isdigit()):
        return given
    page = client.get(_path(conversation_id, "messages"), {"after": max(0, int(given) - 1), "limit": 1})
    found = page["items"]
    if not found or found[0]["sequence"] != int(given):
        raise click.UsageError(f"--reply: there is no message {given}")
    return str(found[0]["message_id"])


def _messages(client: Client, conversation_id: str, after: int, *, follow: bool) -> Iterator[Json]:
    """The messages behind number *after*; with *follow*, for ever."""
    path = _path(conversation_id, "messages")
    position = after
    while True:
        page = client.get(path, {"after": position})
        for one in page["items"]:
            position = one["sequence"]
            yield one
        if page["cursor"] is None:
            break
    if not follow:
        return

    def resumed() -> Iterator[Json]:
        nonlocal position
        for event in client.stream(path, last_event_id=str(position)):
            if event.id.isdigit():
                position = int(event.id)
                yield json.loads(event.data)

    yield from reconnecting(resumed)


def _heading(found: Json) -> Iterator[str]:
    begun = f"begun by {clean(found['initiator'])}, {date_and_time(found['created_at'])}"
    yield f"{clean(found['conversation_id'])}  {begun}"
    yield f"{', '.join(map(clean, found['participants']))}; {plural(found['messages'], 'message')}"
    if found["context"]:
        yield f"all know: {clean(to_json(found['context']))}"


def _said(one: Json, numbers: Mapping[str, int]) -> str:
    """One message: who has said it, its number, when, what it answers, and below that what. *numbers* are by id."""
    sender = clean(one["sender"])
    parent = one["parent_id"]
    answers = f"  answers {numbers.get(parent) or clean(parent)}" if parent else ""
    heading = f"\n{paint_name(sender, sender)}  {one['sequence']}  {date_and_time(one['timestamp'])}{answers}"
    return "\n".join((heading, *(f"  {harmless(line)}" for line in _text(one["content"]).splitlines())))


def _text(content: Any) -> str:
    """What a message says: a text or code as it is, all else as JSON."""
    if isinstance(content, dict) and content.get("modality") in ("text", "code"):
        content = content.get(content["modality"], content)
    return content if isinstance(content, str) else to_json(content, indent=2)


def _row(one: Json) -> list[str]:
    return [
        clean(one["conversation_id"]),
        str(one["messages"]),
        ago(SYSTEM_CLOCK.time() - one["changed_at"]),
        clean(one["initiator"]),
        ",".join(map(clean, one["participants"])),
    ]
