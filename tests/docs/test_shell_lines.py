"""What is taken for a command of the documentation, and what for output or prose."""

from pathlib import Path
from shutil import which

import pytest
from load_script import load_script

pytestmark = pytest.mark.skipif(which("bash") is None, reason="needs bash")


shell_lines = load_script(Path(__file__).with_name("shell_lines.py"))


def typed(text: str) -> list[tuple[str, str]]:
    """The commands of *text*, each with what is shown."""
    return [
        (command.text, command.shown) for block in shell_lines.fenced(text) for command in shell_lines.commands(block)
    ]


def test_every_line_of_a_shell_block_is_typed_without_blank_ones_and_comments() -> None:
    assert typed("```sh\ntekton up -d   # starts\n\n# then\ntekton ps\n```\n") == [
        ("tekton up -d   # starts", ""),
        ("tekton ps", ""),
    ]


def test_a_block_may_be_indented() -> None:
    assert typed("* so:\n\n  ```bash\n  for i in 1 2\n  do echo $i\n  done\n  ```\n") == [
        ("for i in 1 2\ndo echo $i\ndone", "")
    ]


def test_a_line_goes_on_after_a_backslash_and_within_quotes() -> None:
    assert typed("```sh\ncurl -s x \\\n  -d '{\n}'\nls\n```\n") == [("curl -s x \\\n  -d '{\n}'", ""), ("ls", "")]


@pytest.mark.parametrize("language", ["console", ""])
def test_after_a_prompt_comes_what_is_printed(language: str) -> None:
    assert typed(f"```{language}\n$ echo a\na\n\n$ echo b\n```\n") == [("echo a", "a"), ("echo b", "")]


def test_a_block_without_language_and_prompt_is_not_typed() -> None:
    assert typed("```\ntekton up ── starts ──▶ guard\n```\n```json\n{}\n```\n") == []


def test_cron_takes_its_five_fields_and_the_backslash_before_a_percent_sign() -> None:
    assert typed("```crontab\n0 3 * * * date +\\%F\n```\n") == [("date +%F", "")]


def test_a_block_knows_its_line_and_its_section() -> None:
    blocks = shell_lines.fenced("# A\n\n```sh\n# ls\n```\n\n## B\n\n```sh\nls\n```\n")

    assert [(block.line, block.section) for block in blocks] == [(3, 1), (9, 2)]


def test_a_command_in_the_prose_is_a_program_with_arguments() -> None:
    text = "`tekton up` and `tekton why hermes`, `make`, `A=1 tekton up`, `make lint`, `sh -c`\n```sh\nmake x\n```\n"

    assert shell_lines.in_prose(text) == ["tekton why hermes", "A=1 tekton up", "make lint"]
