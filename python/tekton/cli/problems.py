"""What went wrong, in the words of the command line: exit statuses, and errors with evidence and next command.

error[component_not_found]: no component 'rhetr'
help: did you mean 'rhetor'?
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tekton.cli.render import harmless, plural, say
from tekton.utils.tekton_errors import (
    ConfigurationError,
    ProblemError,
    StorageLockedError,
    TektonError,
    TransportError,
)

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
TIMED_OUT = 4
NOT_FOUND = 5
CONFLICT = 6
NOT_PERMITTED = 7
CONFIG_INVALID = 8
INTERRUPTED = 130
READER_GONE = 141  # as a program that SIGPIPE ended

STATUS_BY_HTTP: dict[int, int] = {
    401: NOT_PERMITTED,
    403: NOT_PERMITTED,
    404: NOT_FOUND,
    409: CONFLICT,
    504: TIMED_OUT,
}
"""Exit statuses by HTTP status, for codes that are not in the catalogue."""


class NotInTimeError(TransportError):
    """The answer, or the awaited state, did not come within the time allowed."""

    code = "timed_out"

    def __init__(self, url: str, timeout: float, waiting_for: str = "an answer") -> None:
        self.timeout = timeout
        super().__init__(url, f"gave up after {timeout:g} s (waiting for {waiting_for})")


class FileProblemError(TektonError):
    """A file that a command was to read or write, and what is the matter with it."""

    code = "file_problem"

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class PathTakenError(FileProblemError):
    """Something is there already where a command was to write. It was left alone."""

    code = "path_taken"
    hint = "choose another place, or remove what is there"

    def __init__(self, path: Path, problem: str = "is there already; nothing was written") -> None:
        super().__init__(path, problem)


class DeadLetterNotFoundError(TektonError):
    """There is no dead letter of that number, or not any more."""

    code = "dead_letter_not_found"
    hint = "tekton msg dead ls"

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(f"there is no dead letter {sequence}")


class AdvisedUsageError(click.UsageError):
    """A mistake in the command line about which another command knows more than the help of this one."""

    def __init__(self, message: str, advice: str) -> None:
        self.advice = advice
        super().__init__(message)


class ControlPlaneError(TektonError):
    """The control plane, or the guard above it, ended although nobody had asked for it.

    `exit_code` is that of the guard, negative when a signal ended it; `evidence` the last lines that it has logged.
    """

    code = "control_plane_failed"

    def __init__(self, exit_code: int, evidence: Sequence[str], log: str) -> None:
        self.exit_code = exit_code
        self.evidence = list(evidence)
        self.code = _CODES.get(exit_code, self.code)
        self.hint = "; ".join(filter(None, (_ADVICE.get(exit_code), f"read {log}")))
        holder = next((found[1] for line in evidence if (found := _IN_USE.search(line))), None)
        if exit_code == 75 and holder is not None:
            super().__init__(holder)
            return
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        super().__init__(f"{_REASONS.get(exit_code, 'the control plane has ended')} ({how})")


_REASONS = {
    8: "the control plane refuses its configuration",
    73: "the data directory cannot be written",
    74: "the store has stopped",
    75: "the data directory or the port is in use",
    78: "the stored data cannot be used",
    137: "the guard was killed, and everything with it",
}
_IN_USE = re.compile(r'((?:port \d+|/[^"]+) is in use by [^"]+)')
_ADVICE = {
    75: "tekton up --auto-port takes another port",
    78: "tekton restore BACKUP puts a backup in its place",
}
_NEXT = {
    "agent_not_found": "tekton agent ls",
    "component_not_found": "tekton ps",
    "consumer_not_found": "tekton msg consumer ls",
    "conversation_not_found": "tekton conversation ls",
    "stream_not_found": "tekton msg streams",
    "task_not_found": "tekton task ls",
    "task_type_not_found": "tekton task types ls",
    "tool_not_found": "tekton tool ls",
}
"""The next command, by code, where the error itself has no advice."""

_CODES = {8: "config_invalid", 75: "in_use"}


def exit_status(error: TektonError) -> int:
    """The exit status that stands for *error*."""
    from tekton.utils.error_catalogue import catalogue

    if (known := catalogue().get(error.code)) is not None:
        return known.exit_status
    return STATUS_BY_HTTP.get(error.status, FAILED) if isinstance(error, ProblemError) else FAILED


def report(error: TektonError) -> int:
    """Tell the person about *error* and return the exit status that stands for it."""
    for kind, tell in _TELLERS:
        if isinstance(error, kind):
            tell(error)
            break
    return exit_status(error)


def say_problem(code: str, text: str, evidence: Sequence[str] = (), advice: str | None = None) -> None:
    """One error: what it is, the evidence for it, the next thing to do."""
    say(f"{click.style(f'error[{code}]', fg='red', bold=True)}: {harmless(text)}")
    for line in evidence:
        say(f"  {harmless(line)}")
    if advice:
        say_help(advice)


def say_warning(text: str) -> None:
    """A doubt: it keeps nothing from being done."""
    say(f"{click.style('warning', fg='yellow', bold=True)}: {harmless(text)}")


def say_help(advice: str) -> None:
    """The next thing to do."""
    say(f"{click.style('help', bold=True)}: {harmless(advice)}")


def say_error(error: click.ClickException) -> int:
    """Tell the person about a mistake in the command line and return the exit status."""
    context = getattr(error, "ctx", None)
    # Brackets around the name of an argument say, in the usage, that it may be left out.
    message = re.sub(r"^(Invalid value for )'\[([A-Z_]+)\]'", r"\1'\2'", error.format_message())
    own = error.advice if isinstance(error, AdvisedUsageError) else _of_a_number(error)
    say_problem("usage", message, advice=own or (f"{context.command_path} --help" if context else None))
    return error.exit_code


def _of_a_number(error: click.ClickException) -> str | None:
    """What to write where a negative number was taken for an option."""
    if not isinstance(error, click.NoSuchOption) or not re.match(r"-[0-9]", error.option_name):
        return None
    command = error.ctx.command_path if error.ctx else "tekton"
    return f"a number below zero stands behind --, as the last word: {command} … -- {error.option_name}"


def _tell(error: Any) -> None:
    evidence = error.evidence if isinstance(error, ControlPlaneError) else ()
    advice = error.hint or _NEXT.get(error.code, f"tekton explain {error.code}")
    say_problem(error.code, str(error), evidence, advice)


def _tell_mistakes(error: Any) -> None:
    for mistake in error.mistakes:
        place = f"{mistake.source}:{mistake.line}:{mistake.column}" if mistake.line else mistake.source
        say_problem(error.code, f"{place}: {mistake.problem}", advice=mistake.suggestion)
    say(f"{plural(len(error.mistakes), 'mistake')} in the configuration; nothing was done")
    if error.hint:
        say_help(error.hint)


def _tell_locked(error: Any) -> None:
    stop = f"tekton down --data-dir {error.path}"
    say_problem(error.code, str(error), advice=error.hint or f"{stop}, or choose another --data-dir")


_TELLERS: tuple[tuple[type[TektonError], Callable[[Any], None]], ...] = (
    (ConfigurationError, _tell_mistakes),
    (StorageLockedError, _tell_locked),
    (TektonError, _tell),
)
"""Who tells about which error: the first that fits."""
