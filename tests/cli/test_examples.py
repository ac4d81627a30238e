"""The examples in the help of every verb are there, and can be typed."""

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from tekton.cli.app import VERBS, cli
from tekton.cli.examples import EXAMPLES

TYPED = [line for examples in EXAMPLES.values() for line, _ in examples if line.startswith("tekton ")]


def paths(verb: str) -> list[str]:
    return below(verb, cli.get_command(click.Context(cli, **cli.context_settings), verb))


def below(path: str, command: click.Command | None) -> list[str]:
    """*path*, and those of the commands below it."""
    commands = command.commands if isinstance(command, click.Group) else {}
    return [path, *(found for name, one in commands.items() for found in below(f"{path} {name}", one))]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_ends_with_examples(verb: str) -> None:
    for path in paths(verb):
        result = CliRunner().invoke(cli, [*path.split(), "--help"], prog_name="tekton")

        assert "\n  Examples:\n    " in result.stdout, path
        for line, purpose in EXAMPLES[path]:
            assert f"    {line}\n        {purpose}\n" in result.stdout


def test_there_are_no_examples_of_what_does_not_exist() -> None:
    assert set(EXAMPLES) == {path for verb in VERBS for path in paths(verb)}


@pytest.mark.parametrize("line", TYPED)
def test_an_example_can_be_typed(line: str) -> None:
    verb, *arguments = shlex.split(re.split(r" [>|] ", line)[0])[1:]
    context = cli.make_context("tekton", [verb])
    command = cli.get_command(context, verb)
    while isinstance(command, click.Group) and (not command.invoke_without_command or arguments[0] in command.commands):
        name = arguments.pop(0)
        command = command.get_command(context, name)

    assert command is not None
    command.make_context(verb, arguments, parent=context)
