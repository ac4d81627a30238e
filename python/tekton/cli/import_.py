"""The verb import: what another tool runs, as a components.json. What cannot be carried over is told."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tekton.cli.json_layout import laid_out
from tekton.cli.options import Target, target_options
from tekton.cli.problems import FileProblemError, PathTakenError
from tekton.cli.render import harmless, plural, say, size

if TYPE_CHECKING:
    from tekton.cli.importers.draft import Draft

KINDS = ("compose", "process-compose", "procfile")

_LARGEST = 1024 * 1024
_MOST_VALUES = 200_000
"""Values in a document, those behind an alias each time that it is used."""


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--from", "kind", type=click.Choice(KINDS), help="What kind of file it is. Default: as its name and contents tell."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a new file. Default: print.",
)
@target_options
def import_(file: Path, kind: str | None, output: Path | None, target: Target) -> None:  # noqa: ARG001 - the same everywhere
    """Make a components.json from a file of another tool.

    Reads docker compose, process-compose and Procfiles. Everything that was not carried over, or not as it was, is told
    on stderr. Paths in the result are relative to the FILE, so write it beside that.
    """
    content = _read(file)
    draft = _draft(content, file, kind)
    text = laid_out({"components": draft.components}) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    _tell(draft, output)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise FileProblemError(file, f"is larger than {size(_LARGEST)}")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise FileProblemError(file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileProblemError(file, "is not UTF-8 text") from error


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise PathTakenError(output) from error
    except OSError as error:
        raise FileProblemError(output, f"cannot be written: {error.strerror}") from error


def _draft(content: str, file: Path, kind: str | None) -> "Draft":
    from tekton.cli.importers.draft import ImportedError
    from tekton.cli.importers.procfile import read_procfile

    try:
        if kind == "procfile" or (kind is None and "procfile" in file.name.lower()):
            return read_procfile(content, file)
        document = _yaml(content, file)
        return _reader(document, kind)(document, file)
    except ImportedError as error:
        raise FileProblemError(file, str(error).removeprefix(f"{file}: ")) from error


def _reader(document: Any, kind: str | None) -> Callable[[object, Path], "Draft"]:
    from tekton.cli.importers.compose import read_compose
    from tekton.cli.importers.process_compose import read_process_compose

    told = kind or ("process-compose" if isinstance(document, dict) and "processes" in document else "compose")
    return read_process_compose if told == "process-compose" else read_compose


def _yaml(content: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        problem = FileProblemError(file, "reading YAML needs PyYAML")
        problem.hint = "pip install 'tekton-core[import]'"
        raise problem from error
    try:
        # Before anything is made of it: merge keys write aliases out.
        if _count(yaml.compose(content, Loader=yaml.SafeLoader), {}) > _MOST_VALUES:
            raise FileProblemError(file, "its aliases stand for more than anybody could have meant")
        return yaml.safe_load(content)
    except RecursionError as error:
        raise FileProblemError(file, "is nested too deeply, or in itself") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise FileProblemError(file, f"{place}{error.problem or 'is not YAML'}") from error
    except yaml.YAMLError as error:
        raise FileProblemError(file, f"is not YAML: {error}") from error


def _count(node: Any, known: dict[int, int]) -> int:
    """How many values a YAML node is, all aliases written out; *known* are those of the nodes in it, by identity."""
    members = node.value if node is not None and not isinstance(node.value, str) else ()
    if id(node) not in known:
        parts = (part for member in members for part in (member if isinstance(member, tuple) else (member,)))
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]


def _tell(draft: "Draft", output: Path | None) -> None:
    for note in draft.notes:
        say(f"{click.style(harmless(note.place), bold=True)}: {harmless(note.text)}")
    made = f"{plural(len(draft.components), 'component')}, {plural(len(draft.notes), 'note')}"
    where = "" if output is None else f"; {output} written"
    say(f"{made}{where}. Now: tekton config check")
