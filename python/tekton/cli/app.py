"""The group of all verbs: lazy loading, did-you-mean, and the one place where an error becomes an exit status.

A verb's function returns its exit status (None is 0) or raises; it never prints an error and exits by itself.
Data goes to stdout, everything said to the person goes to stderr.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from tekton.cli.examples import add_examples
from tekton.cli.options import Target, target_options
from tekton.cli.problems import INTERRUPTED, READER_GONE, USAGE, report, say_error
from tekton.cli.terminal import wants_color
from tekton.utils.tekton_errors import TektonError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Verb(NamedTuple):
    """Where a verb lives, and its line in the list of verbs: known without importing it."""

    home: str
    summary: str


VERBS: dict[str, Verb] = {
    "init": Verb("init:init", "Write a small system to begin with."),
    "up": Verb("up:up", "Start the control plane and its components."),
    "down": Verb("down:down", "Stop everything, dependents first."),
    "attach": Verb("attach:attach", "Follow a running system, as up does."),
    "ps": Verb("ps:ps", "List the components and their states."),
    "status": Verb("ps:ps", "The same as ps."),
    "top": Verb("top:top", "Show what uses CPU and memory."),
    "start": Verb("components:start", "Start components."),
    "stop": Verb("components:stop", "Stop components."),
    "restart": Verb("components:restart", "Stop components and start them again."),
    "drain": Verb("replicas:drain", "Take traffic away from components, which go on running."),
    "scale": Verb("replicas:scale", "Have another number of replicas of components."),
    "kill": Verb("components:kill", "Send a signal to the processes of components."),
    "chaos": Verb("chaos:chaos", "Make something fail, or see what would happen."),
    "rm": Verb("components:rm", "Stop components that `tekton run` has added, and take them out."),
    "reload": Verb("reload:reload", "Read the configuration of a running system anew."),
    "run": Verb("run:run", "Run any command as a component."),
    "wait": Verb("wait:wait", "Wait until components are as they are wanted."),
    "why": Verb("why:why", "Explain why a component is in its state."),
    "graph": Verb("graph:graph", "Show what depends on what."),
    "critical-path": Verb("critical_path:critical_path", "Show what the last start took."),
    "logs": Verb("logs:logs", "Show what components have printed."),
    "log-level": Verb("log_level:log_level", "Show and change how much the control plane logs."),
    "trace": Verb("trace:trace", "Show what was done, by whom, and where the time went."),
    "msg": Verb("msg:msg", "Send messages, and watch those of others."),
    "events": Verb("events:events", "Show what happened, or what is happening."),
    "tool": Verb("tool:tool", "Show what components can be asked to do, and ask them."),
    "agent": Verb("agent:agent", "Show who can be asked to do something, and register others."),
    "task": Verb("task:task", "Have agents do something, and see how far it is."),
    "conversation": Verb("conversation:conversation", "Show what agents say to one another, and take part."),
    "backup": Verb("backup:backup", "Write a backup of the database, and of the streams beside it."),
    "restore": Verb("backup:restore", "Put a backup in the place of the database, and of what lies beside it."),
    "audit": Verb("audit:audit", "Show who changed what."),
    "config": Verb("config:config", "Check and show the configuration."),
    "import": Verb("import_:import_", "Make a components.json from a file of another tool."),
    "generate": Verb("generate:generate", "Make the files with which others run a system."),
    "auth": Verb("auth:auth", "Show who one is, and give out tokens and keys."),
    "doctor": Verb("doctor:doctor", "Look for what keeps Tekton from working."),
    "export": Verb("export:export", "Write a support bundle."),
    "completion": Verb("completion:completion", "Print a script that completes commands in a shell."),
    "explain": Verb("explain:explain", "Explain an error code."),
    "version": Verb("version:version", "Show versions."),
}


class _ReaderGoneError(Exception):
    """Whoever read our output has closed it."""


class VerbGroup(click.Group):
    """A group that imports a verb when it is called, and answers with exit statuses instead of tracebacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module, _, name = verb.home.partition(":")
        command: click.Command = getattr(import_module(f"tekton.cli.{module}"), name)
        add_examples(command, cmd_name)
        if ctx.resilient_parsing:
            _complete_names(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [CompletionItem(name, help=verb.summary) for name, verb in VERBS.items() if name.startswith(incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in VERBS:
            raise click.NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error  # click answers a broken pipe itself, with exit status 1

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        sys.exit(self._status(*args, **kwargs))

    def _status(self, *args: Any, **kwargs: Any) -> int:
        try:
            status = super().main(*args, **kwargs)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as shown:
            shown.show()
            return USAGE
        except click.ClickException as error:
            return say_error(error)
        except TektonError as error:
            return report(error)
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED
        except (BrokenPipeError, _ReaderGoneError):
            _forget_output()
            return READER_GONE
        return status if isinstance(status, int) else 0


def _complete_names(command: click.Command) -> None:
    from tekton.cli.component_names import complete_names

    complete_names(command)


class _Presence(click.types.BoolParamType):
    """NO_COLOR counts when it is set to anything but the empty string (no-color.org)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:  # noqa: ARG002
        return bool(value)


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from tekton.cli.version import own_version

        click.echo(own_version())
        context.exit()


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@target_options
@click.option(
    "--no-color", is_flag=True, type=_Presence(), envvar="NO_COLOR", help="No colour, not even on a terminal."
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context, target: Target, no_color: bool) -> None:
    """Tekton runs a system of AI components.

    It starts them in dependency order, knows which one is alive and what it can do, restarts what fails, and
    explains what happened. Begin with `tekton up`.
    """
    context.obj = target
    context.color = wants_color(no_color)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        _accept_any_character(stream)
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="tekton")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1


def _accept_any_character(stream: Any) -> None:
    # A terminal in another encoding shows a question mark; it does not end in UnicodeEncodeError.
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def _forget_output() -> None:
    # The interpreter flushes stdout when it exits; its reader has gone, and that is no failure to talk about.
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
