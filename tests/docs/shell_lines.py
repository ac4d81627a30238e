"""What the documentation tells a reader to type: the lines of its shell blocks, and the commands in its prose.

A block is of the shell when its language is sh, bash or the like, or when its first line begins with `$ `. After a line
with that prompt comes what it prints, up to the next one; in a block without prompts every line is typed. A line goes
on in the next one while bash says that it is not complete. In a block `crontab` the five fields in front are for cron.
"""

import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(page for where in ("", "docs/**/", "examples/**/", "benches/") for page in ROOT.glob(f"{where}*.md"))
SHELLS = frozenset({"sh", "bash", "zsh", "fish", "shell", "console", "shell-session", "crontab"})
PROGRAMS = frozenset({"tekton", "make", "curl", "cargo", "pip", "python", "python3", "node", "cd", "git", "openssl"})
"""What a command in the prose begins with. A word alone is a name, not a command."""

_FENCE = re.compile(r"^([ \t]*)(```+|~~~+)[ \t]*([\w-]*)[^\n]*\n(.*?)^[ \t]*\2[ \t]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^##? .*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_CRON = re.compile(r"(?:\S+ ){5}(.*)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, and where it begins."""

    page: str
    line: int
    section: int
    language: str
    text: str

    @property
    def prompted(self) -> bool:
        """True when what is typed stands after `$ `."""
        return self.text.lstrip("\n").startswith("$ ")

    @property
    def shell(self) -> bool:
        """True when it is to be typed."""
        return self.language in SHELLS or self.prompted


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it is typed, and what is shown of its output."""

    block: Block
    text: str
    shown: str = ""

    def __str__(self) -> str:
        return f"{self.block.page}: $ {self.text}"


def name_of(page: Path) -> str:
    """The path of *page* in the repository."""
    return str(page.relative_to(ROOT))


def fenced(text: str, page: str = "") -> list[Block]:
    """All blocks of *text*, in order."""
    found = []
    for fence in _FENCE.finditer(text):
        before = _FENCE.sub("", text[: fence.start()])
        line = text.count("\n", 0, fence.start()) + 1
        body = textwrap.dedent(fence[4])
        found.append(Block(page, line, len(_HEADING.findall(before)), fence[3], body))
    return found


def commands(block: Block) -> list[Command]:
    """What is typed in *block*, in order."""
    if not block.shell:
        return []
    if block.language == "crontab":
        return [Command(block, _by_cron(line)) for line in block.text.splitlines() if _CRON.fullmatch(line)]
    found = []
    lines = block.text.splitlines()
    while lines:
        typed = lines.pop(0)
        if block.prompted and not typed.startswith("$ "):
            continue
        typed = typed.removeprefix("$ ") if block.prompted else typed
        while lines and not _complete(typed):
            typed += "\n" + lines.pop(0)
        shown = []
        while block.prompted and lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        if re.sub(r"(?m)^\s*#.*$", "", typed).strip():
            found.append(Command(block, typed, "\n".join(shown).strip()))
    return found


@cache
def typed_on(page: Path) -> tuple[Command, ...]:
    """All that is typed in the blocks of *page*, in order."""
    return tuple(command for block in fenced(page.read_text(), name_of(page)) for command in commands(block))


def in_prose(text: str) -> list[str]:
    """The commands in backticks, each once: a program of PROGRAMS and arguments, of `tekton` beside the verb."""
    return list(dict.fromkeys(_spans(_FENCE.sub("", text))))


def loosely(shown: str) -> str:
    """A pattern for what a page shows: numbers and spaces may differ, and an ellipsis stands for anything."""
    escaped = re.sub(r"\d+(\\\.\d+)?", r"\\d+([.]\\d+)?", re.escape(shown))
    return re.sub(r"(\\\s|\s)+", r"\\s+", escaped.replace("…", ".*"))


def _spans(prose: str) -> Iterator[str]:
    for span in _SPAN.findall(prose):
        words = span.split()
        while words and _VARIABLE.fullmatch(words[0]):
            words.pop(0)
        with_arguments = len(words) > (2 if words[:1] == ["tekton"] else 1) or len(words) < len(span.split())
        if words and with_arguments and words[0] in PROGRAMS:
            yield " ".join(span.split())


def _by_cron(line: str) -> str:
    # crontab(5): a % that has no backslash before it is a newline.
    fields = _CRON.fullmatch(line)
    assert fields is not None
    assert not re.search(r"(?<!\\)%", fields[1]), line
    return fields[1].replace("\\%", "%")


@cache
def _complete(typed: str) -> bool:
    if shutil.which("bash") is None:  # then nothing is typed either
        return True
    checked = subprocess.run(["bash", "-n"], input=typed, capture_output=True, text=True, check=False)
    return not (checked.returncode or checked.stderr or typed.endswith("\\"))
