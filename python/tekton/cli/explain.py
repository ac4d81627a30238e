"""The verb explain: what an error code means, from the packaged catalogue. Nothing is asked of anybody."""

from collections.abc import Iterable, Iterator
from typing import Any

import click

from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import Column, table, to_json
from tekton.utils.error_catalogue import Explanation, catalogue, plain
from tekton.utils.tekton_ids import did_you_mean

_COLUMNS = (Column("CODE"), Column("EXIT", numeric=True), Column("HTTP", numeric=True), Column("MEANING"))


@click.command()
@click.argument("code", required=False)
@output_options("text", "json")
@target_options
def explain(code: str | None, output: str, target: Target) -> None:  # noqa: ARG001 - the same everywhere
    """Explain an error code.

    Says what the code means, what usually causes it, what to do, and the exit status that goes with it; offline.
    Without a CODE, lists all of them.
    """
    known = catalogue()
    if code is None:
        _list(known.values(), output)
        return
    wanted = code.removeprefix("error[").rstrip(":]").lower()  # it may be pasted as it was printed
    if wanted not in known:
        advice = did_you_mean(wanted, known) or "tekton explain lists them"
        raise click.UsageError(f"no error code {wanted!r}; {advice}")
    entry = known[wanted]
    click.echo(to_json(_document(entry), indent=2) if output == "json" else "\n".join(_lines(entry)))


def _list(entries: Iterable[Explanation], output: str) -> None:
    if output == "json":
        click.echo(to_json({"errors": [_document(entry) for entry in entries]}, indent=2))
        return
    rows = [(entry.code, str(entry.exit_status), str(entry.status or "-"), entry.title) for entry in entries]
    click.echo("\n".join(table(_COLUMNS, rows)))


def _document(entry: Explanation) -> dict[str, Any]:
    return {
        "code": entry.code,
        "title": entry.title,
        "meaning": plain(entry.meaning),
        "causes": [plain(cause) for cause in entry.causes],
        "advice": plain(entry.advice),
        "status": entry.status,
        "exit_status": entry.exit_status,
    }


def _lines(entry: Explanation) -> Iterator[str]:
    yield f"{click.style(entry.code, bold=True)}: {entry.title}"
    over_http = f", HTTP status {entry.status}" if entry.status else ""
    yield f"exit status {entry.exit_status}{over_http}"
    yield ""
    yield _wrapped(entry.meaning)
    if entry.causes:
        yield "\nUsual causes:"
        yield from (_wrapped(cause, "- ", "  ") for cause in entry.causes)
    yield "\nWhat to do:"
    advice = plain(entry.advice)
    yield _wrapped(advice[0].upper() + advice[1:], "  ", "  ")


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return str(click.wrap_text(plain(text), 88, initial_indent=first, subsequent_indent=rest))
