"""The verb run: any command as a component of the running system, for as long as somebody watches it, or longer.

The command gets the environment and the working directory of the caller. What Tekton says about it goes to stderr, what
it prints itself to stdout.
"""

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from tekton.cli.client import Client, component_path, connect, data_dir
from tekton.cli.instance import Instance
from tekton.cli.options import Target, duration, target_options
from tekton.cli.problems import DONE, FAILED, FileProblemError, NotInTimeError, say_problem
from tekton.cli.render import clean, elapsed, say
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import (
    ComponentError,
    ConfigurationError,
    DependencyError,
    SpawnError,
    TektonError,
    TransportError,
)

_INTERPRETERS = re.compile(r"(?:python|pypy|node|deno|bun|ruby|perl|php|java|sh|bash|zsh|dash|env)[0-9.]*")
_OURS = "TEKTON_"

Entry = dict[str, Any]


def _probe(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Entry | None:
    """`http:/healthz`, `tcp`, `tcp:9100`, `log:REGEX`, `exec:CMD` or `heartbeat`, as it stands in components.json."""
    if value is None:
        return None
    kind, _, argument = value.partition(":")
    if kind in ("tcp", "heartbeat") and not argument:
        return {kind: True}
    if kind == "tcp" and argument.isdecimal():
        return {kind: int(argument)}
    if kind in ("http", "log") and argument:
        return {kind: argument}
    if kind == "exec" and argument:
        return {kind: _words(argument)}
    raise click.BadParameter(f"{value!r} is not http:/PATH, tcp, tcp:PORT, log:REGEX, exec:COMMAND or heartbeat")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise click.BadParameter(f"{command!r}: {error}") from None


def _needs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[Entry]:
    """`NAME` or `NAME:CONDITION`."""
    found = []
    for value in values:
        name, _, condition = value.partition(":")
        found.append({"component": name, **({"condition": condition} if condition else {})})
    return found


def _assignments(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE`; a NAME alone is that of the caller's environment."""
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="[--] COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="Its id. Default: the name of the program.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Its port, given to it as PORT.")
@click.option(
    "--ready",
    callback=_probe,
    metavar="PROBE",
    help="How it shows that it is ready: http:/PATH, tcp, tcp:PORT, log:REGEX, exec:COMMAND or heartbeat.",
)
@click.option(
    "--liveness", callback=_probe, metavar="PROBE", help="What it must go on to answer, or it is started anew."
)
@click.option(
    "--needs",
    callback=_needs,
    multiple=True,
    metavar="NAME[:CONDITION]",
    help="Wait for this component to be ready, started or completed. Repeatable.",
)
@click.option("--capability", "capabilities", multiple=True, metavar="NAME", help="What it can do. Repeatable.")
@click.option(
    "-e", "--env", "variables", callback=_assignments, multiple=True, metavar="NAME=VALUE", help="A variable more."
)
@click.option(
    "--env-file",
    "env_files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A file of NAME=VALUE lines. Repeatable.",
)
@click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    default=".",
    metavar="DIR",
    help="Its working directory. Default: this one.",
)
@click.option(
    "--restart",
    "policy",
    type=click.Choice(["no", "on-failure", "always"]),
    default="on-failure",
    show_default=True,
    help="When it is started again by itself.",
)
@click.option("--max-restarts", type=click.IntRange(0), metavar="N", help="Restarts in a row before Tekton gives up.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group it belongs to. Repeatable.")
@click.option("-d", "--detach", is_flag=True, help="Return when it is ready or has failed; it runs on.")
@click.option("--timeout", callback=duration, metavar="TIME", help="How long it may take to become ready.")
@target_options
def run(
    *,
    command: tuple[str, ...],
    name: str | None,
    port: int | None,
    ready: Entry | None,
    liveness: Entry | None,
    needs: list[Entry],
    capabilities: tuple[str, ...],
    variables: dict[str, str],
    env_files: tuple[Path, ...],
    cwd: str,
    policy: str,
    max_restarts: int | None,
    groups: tuple[str, ...],
    detach: bool,
    timeout: float | None,
    target: Target,
) -> int:
    """Run any command as a component.

    It belongs to the system that runs, and has the environment and the working directory of the caller. In the
    foreground its output is shown, Ctrl-C stops it and takes it out again, and the exit status is 0 or 1, as it ended
    well or not. With --detach it runs on until it is stopped or the system is; it survives a restart of the control
    plane.
    """
    target = target.on_this_machine("run")
    given: Entry = {
        "command": list(command),
        "env": _environment(env_files, variables),
        "cwd": cwd,
        "port": port,
        "ready": ready,
        "liveness": liveness,
        "dependencies": needs,
        "capabilities": list(capabilities),
        "groups": list(groups),
        "restart": {"policy": policy, **({} if max_restarts is None else {"max": max_restarts})},
        "start_timeout": timeout,
    }
    entry = {key: value for key, value in given.items() if value is not None}
    component_id = name or default_name(command)
    _refuse_missing(component_id, command[0], cwd, given["env"])
    client = _connected(target)
    if detach:
        return _detached(client, component_id, entry, timeout)
    from tekton.cli.run_session import RunSession
    from tekton.cli.stop_signals import StopSignals

    with StopSignals() as signals:
        session = RunSession(client, component_id, entry, Instance(data_dir(target)).log_of(component_id))
        signals.listen(session.request_stop)
        return session.run()


def _refuse_missing(name: str, program: str, cwd: str, environment: dict[str, str]) -> None:
    """Raise SpawnError for a program that is not there: no restart would find it."""
    place = os.path.join(cwd, program) if os.sep in program else program
    if shutil.which(place, path=environment.get("PATH")) is None:
        raise SpawnError(name, f"command not found: {program}")


def _connected(target: Target) -> Client:
    """The control plane of the data directory, if it is ours: it is sent our environment, with all secrets in it.

    None that somebody has announced on the network will do.
    """
    directory = data_dir(target)
    if (place := Instance(directory).of_stranger) is not None:
        raise FileProblemError(place, "belongs to somebody else, who is not sent your environment")
    try:
        client = connect(target._replace(data_dir=directory))
        client.get("/api/health")
    except TransportError as error:
        if error.code == "unreachable":
            error.hint = "tekton up -d"
        raise
    return client


def default_name(command: tuple[str, ...]) -> str:
    """The id for a command: the name of its program, or of what an interpreter is given to run."""
    program = Path(command[0]).name
    if _INTERPRETERS.fullmatch(program):
        program = _script(command[1:]) or program
    name = re.sub(r"[^a-z0-9_-]+", "-", program.lower()).strip("-_")[:128]
    if not name:
        raise click.UsageError(f"{command[0]!r} makes no id; say --name")
    return name


def _script(arguments: tuple[str, ...]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == "-m":
            return next(iter(arguments[position + 1 :]), "").rpartition(".")[2]
        if argument == "-c":
            return None
        if not argument.startswith("-"):
            return Path(argument).stem
    return None


def _environment(files: tuple[Path, ...], given: dict[str, str]) -> dict[str, str]:
    """The caller's, without what another Tekton has put there; then the files, then what was given."""
    from tekton.utils.config_files import read_env_file

    variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS) and _is_text(value)}
    for path in files:
        found, mistakes = read_env_file(path, str(path))
        if mistakes:
            raise ConfigurationError(mistakes)
        variables |= found
    return variables | given


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that are no text cannot be sent
        return False
    return True


def _detached(client: Client, name: str, entry: Entry, timeout: float | None) -> int:
    since = SYSTEM_CLOCK.monotonic()
    try:
        client.put(component_path(name, "spec"), {"wait": 1}, body=entry, timeout=timeout)
    except NotInTimeError:
        raise NotInTimeError(name, timeout or 0.0, f"{name} to be ready; it goes on to start") from None
    except (ComponentError, DependencyError) as error:
        tell_failure(client, name, f"tekton why {name}", error)
        return FAILED
    say(f"{name}  ready in {elapsed(SYSTEM_CLOCK.monotonic() - since)}; tekton stop {name} stops it")
    return DONE


def tell_failure(client: Client, name: str, advice: str, error: TektonError | None = None) -> None:
    """Say why a component has failed: in its own last words, too, if it has run."""
    try:
        why = client.get(component_path(name, "why"))
    except TektonError:
        why = {}
    text = str(error) if error is not None else f"{name}: {why.get('reason') or 'no reason given'}"
    code = "component_failed" if error is None else error.code
    has_run = not isinstance(error, DependencyError)
    say_problem(code, clean(text), [clean(one) for one in why.get("evidence", ()) if has_run], advice)
