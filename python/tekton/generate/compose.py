"""Docker Compose: the control plane, and a container for each component.

A component in a container is not run by Tekton, which so cannot give it a credential of its own: a small service beside
each one has the control plane make an API key for it, once, and puts that where only this component finds it.
"""

from typing import Any

from tekton.generate.blueprint import (
    CORE,
    CREDENTIAL,
    DATA,
    PRIVATE,
    Blueprint,
    Generated,
    Part,
    is_secret,
    probe_command,
    whole_seconds,
)
from tekton.generate.programs import note
from tekton.generate.settings import PLACE, Settings
from tekton.generate.variables import written_for
from tekton.generate.yaml_text import yaml_text
from tekton.utils.tekton_config import ProbeSpec

_ABOUT = """\
The system {name} in containers: the control plane, and one for each component.

    docker compose up --build -d --wait
    docker compose exec tekton-core tekton ps

All are of one image, that of the Dockerfile beside this file (tekton generate dockerfile). The root file systems are
read-only; what is to stay is written below /data.

Docker runs the components, not Tekton. One that uses the Python library registers by itself, and proves who it is by
the key in its volume, which the service NAME-credential has made; in other languages, see "From any other language" in
the documentation. Ports are published to this machine only.

Private networks are where the control plane may call components; everybody in the network of this file needs a
credential to change anything.{open}
"""
_MADE = "tekton-components"
_HEALTH = ["CMD", "python", "-m", "tekton.service.health"]
_KEY = "test -s {path} || { umask 077; tekton auth key create --subject {name} --role component > {path}; }"
_CONDITIONS = {"ready": "service_healthy", "started": "service_started", "completed": "service_completed_successfully"}


def compose(system: Blueprint) -> Generated:
    """The compose.yaml of *system*."""
    services: dict[str, Any] = {CORE: _core(system)}
    volumes: dict[str, Any] = {"tekton-data": {}}
    for part in system.parts:
        services[f"{part.name}-credential"] = _credential(system, part)
        services[part.name] = _component(system, part)
        volumes |= {f"{part.name}-data": {}, f"{part.name}-credential": {}}
    document = {"name": _project(system.name), "services": services, "volumes": volumes} | _configs(system)
    text = yaml_text(document, _ABOUT.format(name=system.name, open=_left_open(system)))
    return Generated({"compose.yaml": text}, text)


def _shared(system: Blueprint) -> dict[str, Any]:
    return {
        "image": system.image,
        "build": {"context": "."},
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _core(system: Blueprint) -> dict[str, Any]:
    found = system.settings
    core = {
        **_shared(system),
        "command": ["python", "-m", "tekton.service.main"],
        # Not where components.json is: it would run the components itself.
        "working_dir": DATA,
        "environment": {
            **{name: _variable(name, default and "") for name, default in found.variables.items()},
            "TEKTON_HOST": "0.0.0.0",
            "TEKTON_PORT": "8010",
            "TEKTON_DATA_DIR": DATA,
            "TEKTON_SECURITY_ALLOWED_HOSTS": CORE,
            "TEKTON_SECURITY_CALLBACK_NETWORKS": PRIVATE,
            **({"TEKTON_CONFIG_FILE": found.named} if found.files else {}),
        },
        "ports": ["127.0.0.1:8010:8010"],
        "volumes": ["tekton-data:/data", *_mounted(found)],
        "healthcheck": {"test": _HEALTH, "interval": "2s", "timeout": "3s", "retries": 30},
        "stop_grace_period": "30s",
        "restart": "unless-stopped",
    }
    if found.made is not None:
        core["configs"] = [{"source": _MADE, "target": f"{PLACE}/{found.made}"}]
    return core


def _mounted(found: Settings) -> list[str]:
    return [f"./{name}:{PLACE}/{name}:ro" for name in found.files if name != found.made]


def _configs(system: Blueprint) -> dict[str, Any]:
    """What is in no file beside this one."""
    made = system.settings.made
    if made is None:
        return {}
    return {"configs": {_MADE: {"content": system.settings.files[made].replace("$", "$$")}}}


def _credential(system: Blueprint, part: Part) -> dict[str, Any]:
    key = _KEY.replace("{path}", CREDENTIAL).replace("{name}", part.name)
    return {
        **_shared(system),
        "command": ["sh", "-c", key],
        "working_dir": DATA,
        "depends_on": {CORE: {"condition": "service_healthy"}},
        "volumes": ["tekton-data:/data", f"{part.name}-credential:/credential"],
        "network_mode": "none",
        "restart": "no",
        **_profiles(part),
    }


def _component(system: Blueprint, part: Part) -> dict[str, Any]:
    spec = part.spec
    check = _health(spec.ready, spec.port)
    service: dict[str, Any] = {
        **_shared(system),
        "command": [written_for(word, _variable, "$$") for word in part.command],
        "working_dir": part.directory,
        "init": True,
        "depends_on": _needs(system, part),
        "environment": _environment(system, part),
        "volumes": [f"{part.name}-data:/data", f"{part.name}-credential:/credential:ro"],
        "stop_grace_period": f"{whole_seconds(spec.stop_timeout + spec.drain)}s",
        "restart": _restart(part),
    }
    if part.env_files:
        service["env_file"] = list(part.env_files)
    if spec.port and spec.replicas == 1:
        service["ports"] = [f"127.0.0.1:{spec.port}:{spec.port}"]
    if spec.replicas > 1:
        service["scale"] = spec.replicas
    if check is not None:
        service["healthcheck"] = check
    return service | _limits(part) | _profiles(part)


def _environment(system: Blueprint, part: Part) -> dict[str, str]:
    spec = part.spec
    own = {f"{part.prefix}_ALLOWED_HOSTS": part.name}
    if spec.port and spec.replicas == 1:
        own[f"{part.prefix}_URL"] = f"http://{part.name}:{spec.port}"
    written = {
        name: f"${{{name}:?}}" if is_secret(name, text) else written_for(text, _variable, "$$")
        for name, text in part.variables.items()
    }
    return {
        "TEKTON_URL": f"http://{CORE}:8010",
        **part.place(),
        **own,
        **system.addresses(part, str),
        **written,
    }


def _variable(name: str, default: str | None) -> str:
    return f"${{{name}:?}}" if default is None else f"${{{name}:-{default}}}"


def _needs(system: Blueprint, part: Part) -> dict[str, Any]:
    """What has to be there first: its credential, and what it depends on as far as it is here."""
    checked = {one.name for one in system.parts if _health(one.spec.ready, one.spec.port) is not None}
    needs = {f"{part.name}-credential": {"condition": _CONDITIONS["completed"]}}
    for need in part.spec.dependencies:
        if any(one.name == need.component for one in system.parts):
            blind = need.condition == "ready" and need.component not in checked
            needs[need.component] = {"condition": _CONDITIONS["started" if blind else need.condition]}
    return needs


def _health(ready: ProbeSpec | None, port: int | None) -> dict[str, Any] | None:
    command = None if ready is None else probe_command(ready, port)
    if ready is None or command is None:
        return None
    return {
        "test": ["CMD", *(word.replace("$", "$$") for word in command)],
        "interval": f"{whole_seconds(ready.interval or 5)}s",
        "timeout": f"{whole_seconds(ready.timeout + 1)}s",
        "retries": ready.failures,
        "start_period": "60s",
        "start_interval": "1s",
    }


def _restart(part: Part) -> str:
    restart = part.spec.restart
    if part.runs_once:
        return "no"
    return "unless-stopped" if restart.policy == "always" else f"on-failure:{restart.max}"


def _limits(part: Part) -> dict[str, Any]:
    limits = part.spec.limits
    found: dict[str, Any] = {}
    if limits.memory is not None:
        found["mem_limit"] = limits.memory
    if limits.processes is not None:
        found["pids_limit"] = limits.processes
    if limits.open_files is not None:
        found["ulimits"] = {"nofile": limits.open_files}
    return found


def _profiles(part: Part) -> dict[str, Any]:
    return {"profiles": list(part.spec.profiles)} if part.spec.profiles else {}


def _project(name: str) -> str:
    """A name that compose takes for a project."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name.lower()).lstrip("-_")


def _left_open(system: Blueprint) -> str:
    """What cannot be said in compose, as far as it is in *system*."""
    blind = [part.name for part in system.parts if part.spec.ready and not _health(part.spec.ready, part.spec.port)]
    unasked = [part.name for part in system.parts if part.spec.startup or part.spec.liveness]
    notes = [*system.settings.notes(), *note(system)]
    if blind:
        notes.append(f"No command in the container can ask whether it is ready, only Tekton knows: {', '.join(blind)}.")
    if unasked:
        notes.append(
            f"Compose has one health check, which is `ready`; startup and liveness are not asked: {', '.join(unasked)}."
        )
    return "".join(f"\n\n{one}" for one in notes)
