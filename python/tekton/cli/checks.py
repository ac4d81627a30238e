"""What `tekton doctor` looks at: one function for each thing that can keep Tekton from working.

Nothing is changed, beyond a file that is written to the data directory and removed again.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tekton.cli.client import connect, data_dir, load_config
from tekton.cli.instance import Instance
from tekton.cli.options import Target
from tekton.cli.render import clean, plural, size
from tekton.cli.unmet import unmet_dependencies
from tekton.utils.tekton_errors import ConfigurationError, TektonError

if TYPE_CHECKING:
    from tekton.utils.config_components import ComponentSpec
    from tekton.utils.tekton_config import TektonConfig

Verdict = Literal["ok", "warn", "fail"]

_LITTLE_SPACE = 1 << 30
_NO_SPACE = 100 << 20
_FEW_FILES = 1024
_FEW_PROCESSES = 256
_CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "pit")
_ANSWER_WITHIN = 5.0


class Check(NamedTuple):
    """What was found: `fail` keeps Tekton from working, `warn` may. `advice` is what to do about it."""

    name: str
    verdict: Verdict
    text: str
    advice: str | None = None


def all_checks(target: Target) -> Iterator[Check]:
    """Look at everything, one thing after the other."""
    yield _python()
    yield _extension()
    yield _clock()
    yield from _limits()
    config, check = _configuration(target)
    yield check
    try:
        directory = data_dir(target)
    except ConfigurationError:
        return
    instance = Instance(directory)
    yield _data_directory(directory)
    yield _space(directory)
    yield _control_plane(instance)
    if config is not None:
        yield from _dependencies(config)
        yield from _ports(config, instance)
        yield from _commands(config)


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _extension() -> Check:
    try:
        from tekton import _native
    except ImportError as error:
        return Check("extension", "fail", f"cannot be loaded: {error}", "install Tekton anew for this Python")
    return Check("extension", "ok", str(_native.__file__))


def _clock() -> Check:
    try:
        source = _CLOCK_SOURCE.read_text().strip()
    except OSError:
        return Check("clock", "ok", "the system does not tell its source")
    if source in _SLOW_CLOCKS:
        return Check("clock", "warn", f"{source} is slow to read", "see why the kernel does not use tsc")
    return Check("clock", "ok", source)


def _limits() -> Iterator[Check]:
    if sys.platform == "win32":
        return
    import resource

    for name, kind, least in (
        ("open files", resource.RLIMIT_NOFILE, _FEW_FILES),
        ("processes", resource.RLIMIT_NPROC, _FEW_PROCESSES),
    ):
        limit, _ = resource.getrlimit(kind)
        told = "no limit" if limit == resource.RLIM_INFINITY else f"{limit} at most"
        if limit != resource.RLIM_INFINITY and limit < least:
            option = "n" if kind == resource.RLIMIT_NOFILE else "u"
            yield Check(name, "warn", f"{told}; a system needs {least}", f"ulimit -{option} {least}")
        else:
            yield Check(name, "ok", told)


def _configuration(target: Target) -> tuple["TektonConfig | None", Check]:
    try:
        config = load_config(target)
    except ConfigurationError as error:
        first, *others = error.mistakes
        more = f", and {plural(len(others), 'more mistake')}" if others else ""
        return None, Check("configuration", "fail", f"{first}{more}", "tekton config check")
    files = ", ".join(map(str, config.files.paths())) or "no files, only defaults"
    return config, Check("configuration", "ok", f"{plural(len(config.components), 'component')} ({files})")


def _data_directory(directory: Path) -> Check:
    from tekton.service.file_system import doubt, file_system_type

    place = _existing(directory)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(
            "data directory", "fail", f"{place} cannot be written: {error.strerror}", "choose another data_dir"
        )
    if (why := doubt(place)) is not None:
        return Check("data directory", "warn", why, "choose a data_dir on a disk of this machine")
    kind = file_system_type(place)
    return Check("data directory", "ok", f"{directory}" + (f" ({kind})" if kind else ""))


def _space(directory: Path) -> Check:
    free = shutil.disk_usage(_existing(directory)).free
    verdict: Verdict = "fail" if free < _NO_SPACE else "warn" if free < _LITTLE_SPACE else "ok"
    return Check("free space", verdict, size(free), None if verdict == "ok" else "free some disk space")


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.exists())


def _control_plane(instance: Instance) -> Check:
    from tekton import __version__

    name, owner = "control plane", instance.owner_pid
    if owner is None:
        return Check(name, "ok", f"nothing runs in {instance.data_dir}")
    try:
        client = connect(Target(data_dir=instance.data_dir))
        version = client.get("/api/version", timeout=_ANSWER_WITHIN)["version"]
        ready: dict[str, Any] = client.get("/api/ready", timeout=_ANSWER_WITHIN)
    except TektonError as error:
        advice = f"read {instance.log}; tekton down ends it"
        return Check(name, "fail", f"process {owner} owns the directory, but {clean(str(error))}", advice)
    if version != __version__:
        advice = "tekton down, then tekton up"
        return Check(name, "warn", f"runs version {version}, this is {__version__}", advice)
    if impaired := ready.get("impaired"):
        return Check(name, "warn", f"runs, but {'; '.join(map(clean, impaired))}", f"read {instance.log}")
    serving = instance.control_pid or owner  # the owner is its guard
    return Check(name, "ok", f"runs (process {serving}), {'ready' if ready['ready'] else ready['reason']}")


def _ports(config: "TektonConfig", instance: Instance) -> Iterator[Check]:
    """Whether the ports are free; while the system runs, they are supposed not to be."""
    if instance.owner_pid is not None:
        return
    from tekton.supervisor.ports import describe_owner

    wanted = {"the control plane": config.port} | {
        name: spec.port for name, spec in config.components.items() if spec.port is not None
    }
    taken = {name: owner for name, port in wanted.items() if port and (owner := describe_owner(port)) is not None}
    for name, owner in taken.items():
        advice = "stop it, or choose another port"
        yield Check("port", "fail", f"port {wanted[name]} of {name} is in use by {owner}", advice)
    if not taken:
        yield Check("port", "ok", f"{plural(len(wanted), 'port')} free")


def _dependencies(config: "TektonConfig") -> Iterator[Check]:
    """What depends on something that is not configured; nothing where all is."""
    for one in unmet_dependencies(config.components, config.components):
        yield Check("dependency", "warn", one.text, one.advice)


def _commands(config: "TektonConfig") -> Iterator[Check]:
    faults = [fault for spec in config.components.values() if (fault := _fault_of_command(spec)) is not None]
    for fault in faults:
        yield Check("command", "fail", fault, "install it, or correct the component's command")
    if config.components and not faults:
        yield Check("command", "ok", f"the programs of {plural(len(config.components), 'component')} are there")


def _fault_of_command(spec: "ComponentSpec") -> str | None:
    """Why the program of a component cannot be started; None when it can."""
    if not os.path.isdir(spec.cwd):
        return f"{spec.name}: its cwd {spec.cwd} is no folder"
    program = spec.command[0]
    if os.sep in program:
        path = os.path.join(spec.cwd, program)
        if not os.path.exists(path):
            return f"{spec.name}: there is no {path}"
        return None if os.access(path, os.X_OK) else f"{spec.name}: {path} is not executable"
    # As the guard does: the programs beside our own Python are found too.
    paths = (spec.env.get("PATH"), os.path.dirname(sys.executable))
    found = any(shutil.which(program, path=path) for path in paths)
    return None if found else f"{spec.name}: there is no program {program!r} on the PATH"
