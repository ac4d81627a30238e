"""Docker compose files: services become components.

A service with an image becomes `docker run` in the foreground, so that Tekton starts, watches and stops the container.
A service that is built here becomes a process of this machine: the command of the service, or that of its Dockerfile,
in the folder that it is built from. What containers get from compose beside that (a network with names, secrets) has no
like here and is noted.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tekton.cli.importers.container import FLAGS, Published, docker_run, published
from tekton.cli.importers.draft import (
    Component,
    Draft,
    ImportedError,
    assignments,
    items,
    literal,
    memory,
    replaced,
    seconds,
    shell_command,
    table,
    text,
    whole,
    words_of,
)

_CONDITIONS = {
    "service_started": "started",
    "service_healthy": "ready",
    "service_completed_successfully": "completed",
}
_KNOWN = (
    *("image", "build", "command", "entrypoint", "environment", "env_file", "ports", "expose", "depends_on"),
    *("healthcheck", "restart", "profiles", "scale", "deploy", "working_dir", "stop_grace_period", "mem_limit"),
    *("pids_limit", "ulimits", "labels", "container_name", "init"),
)
_KNOWN_OF_HEALTHCHECK = ("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable")
_FOR_CONTAINERS = (*FLAGS, "privileged")
_KNOWN_ABOVE = ("version", "name", "services")
_REASONS = {
    "networks": "there is no network of containers: components reach one another at localhost",
    "links": "there is no network of containers: components reach one another at localhost",
    "extends": "write out what it takes over",
    "secrets": "give them as variables, from an `env_file` that only you can read",
    "configs": "mount or copy the files",
    "include": "import those files on their own",
    "stop_signal": "a component is stopped by SIGTERM",
    "logging": "the output of a component is in `tekton logs`; see `log` of a component",
    "develop": "there is no watching of files",
}
_HTTP_CHECK = re.compile(
    r"\b(?:curl|wget)\b.*?\bhttps?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(/[^\s'\"|;)]*)?"
)
_DOCKERFILE_LINE = re.compile(r"^(ENTRYPOINT|CMD)\s+(.+)$", re.IGNORECASE | re.MULTILINE)


def read_compose(document: object, path: Path) -> Draft:
    """The services of a compose file. Raises ImportedError."""
    draft = Draft(path.parent)
    whole = table(document, str(path))
    services = table(whole.get("services"), "services")
    if not services:
        raise ImportedError(f"{path}: it has no `services`, as a docker compose file would")
    draft.drop(
        path.name, whole, {**_REASONS, "volumes": "named volumes are made by docker when they are used"}, _KNOWN_ABOVE
    )
    draft.name_all(services, "services")
    for name, entry in services.items():
        place = f"services.{name}"
        draft.components[draft.id_of(name)] = _component(draft, name, place, table(entry, place))
    return draft


def _component(draft: Draft, name: str, place: str, service: dict[str, Any]) -> Component:
    ports = published(draft, f"{place}.ports", service.get("ports"))
    variables = assignments(service.get("environment"), f"{place}.environment")
    _note_hosts(draft, place, variables)
    component: Component = {
        "env": {key: _value(key, value) for key, value in variables.items()},
        "env_file": _env_files(draft, f"{place}.env_file", service.get("env_file")),
        "dependencies": _dependencies(draft, place, service.get("depends_on")),
        "restart": _restart(draft, place, service),
        "stop_timeout": seconds(service.get("stop_grace_period")),
        "profiles": [draft.id_of(text(profile)) for profile in items(service.get("profiles"))],
        "replicas": _replicas(service),
        "limits": _limits(service),
        "metadata": _metadata(service),
        **_restarted_dependencies(service),
    }
    run = _in_container if service.get("image") and not service.get("build") else _on_this_machine
    component = run(draft, name, place, service, ports) | component
    return {key: value for key, value in component.items() if value not in (None, "", [], {})}


def _value(name: str, value: str | None) -> str:
    return f"${{{name}:-}}" if value is None else replaced(value)


def _in_container(draft: Draft, name: str, place: str, service: dict[str, Any], ports: list[Published]) -> Component:
    draft.drop(place, service, _REASONS, [*_KNOWN, *_FOR_CONTAINERS])
    draft.note(f"{place}.image", "runs as `docker run`: docker has to be installed")
    container = f"tekton-{draft.id_of(name)}"
    own_port = next((port.host for port in ports if port.host is not None), None)
    hosts = {port.container: port.host for port in ports}

    def address(asked: int) -> str | None:
        return f"http://127.0.0.1:{hosts[asked]}" if hosts.get(asked) is not None else None

    check = _healthcheck(draft, place, service, address, ["docker", "exec", container])
    variables = assignments(service.get("environment"), f"{place}.environment")
    return {"command": docker_run(container, service, ports, variables), "port": own_port, **check}


def _on_this_machine(draft: Draft, _: str, place: str, service: dict[str, Any], ports: list[Published]) -> Component:
    containers_only = dict.fromkeys(_FOR_CONTAINERS, "it runs on this machine, not in a container")
    draft.drop(place, service, {**_REASONS, **containers_only}, _KNOWN)
    context = _context(service)
    command = words_of(service.get("entrypoint")) + words_of(service.get("command")) or _of_dockerfile(draft, service)
    if not command:
        raise ImportedError(f"{place} has neither a command nor an image, and no Dockerfile that names one")
    draft.note(
        f"{place}.build", "is not built: its command runs on this machine, where its program has to be installed"
    )
    if service.get("working_dir"):
        draft.note(f"{place}.working_dir", f"is a folder of the container; it runs in {context}")
    port = ports[0].container if ports else None
    if ports and ports[0].host not in (None, port):
        draft.note(f"{place}.ports", f"it listens on {port} itself; nothing leads there from {ports[0].host}")
    for other in ports[1:]:
        draft.note(f"{place}.ports", f"only the first is given to it as PORT; {other.container} is up to the program")
    return {
        "command": command,
        "cwd": context,
        "port": port,
        **_healthcheck(draft, place, service, lambda asked: _local_address(asked, port), []),
    }


def _local_address(asked: int, port: int | None) -> str:
    # A path alone is asked at the component's own port, which is another one for every replica.
    return "" if asked == port else f"http://127.0.0.1:{asked}"


def _context(service: dict[str, Any]) -> str:
    build = service.get("build")
    context = build.get("context", ".") if isinstance(build, dict) else build
    return replaced(text(context)) or "."


def _of_dockerfile(draft: Draft, service: dict[str, Any]) -> list[str]:
    """The command that the Dockerfile of a service names last; none when there is no such file or line."""
    build = service.get("build")
    name = build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile"
    try:
        content = (draft.directory / _context(service) / text(name)).read_text("utf-8")
    except OSError:
        return []
    last = {kind.upper(): words for kind, words in _DOCKERFILE_LINE.findall(content.replace("\\\n", " "))}
    return [word for kind in ("ENTRYPOINT", "CMD") for word in _dockerfile_words(last.get(kind, ""))]


def _dockerfile_words(line: str) -> list[str]:
    if not line:
        return []
    try:
        words = json.loads(line)
    except ValueError:
        return shell_command(line.strip())
    return [literal(text(word)) for word in items(words)]


def _env_files(draft: Draft, place: str, value: object) -> list[str]:
    found = []
    for entry in items(value):
        path = text(entry.get("path") if isinstance(entry, dict) else entry)
        if isinstance(entry, dict) and entry.get("required") is False and not (draft.directory / path).is_file():
            draft.note(place, f"dropped: {path} is not there, and need not be")
        else:
            found.append(path)
    return found


def _dependencies(draft: Draft, place: str, value: object) -> list[object]:
    place = f"{place}.depends_on"
    told = dict.fromkeys(map(text, value)) if isinstance(value, list) else table(value, place)
    found: list[object] = []
    for name, entry in told.items():
        condition = _CONDITIONS.get(text(table(entry, place).get("condition")) or "service_started")
        if condition is None or not draft.knows(name):
            what = "no condition is like that" if condition is None else "the file has no such service"
            draft.note(f"{place}.{name}", f"dropped: {what}")
        else:
            found.append(
                draft.id_of(name) if condition == "ready" else {"component": draft.id_of(name), "condition": condition}
            )
    return found


def _restarted_dependencies(service: dict[str, Any]) -> Component:
    needs = service.get("depends_on")
    restarts = isinstance(needs, dict) and any(
        isinstance(entry, dict) and entry.get("restart") for entry in needs.values()
    )
    return {"on_dependency_failure": "restart"} if restarts else {}


def _restart(draft: Draft, place: str, service: dict[str, Any]) -> Component:
    policy = table(table(service.get("deploy"), place).get("restart_policy"), place)
    told, _, most = text(service.get("restart")).partition(":")
    told = told or text(policy.get("condition")) or "no"
    if told == "unless-stopped":
        draft.note(f"{place}.restart", "is `always`: what was stopped by hand stays stopped anyhow")
    policies = {"always": "always", "unless-stopped": "always", "any": "always", "on-failure": "on-failure"}
    restart: Component = {"policy": policies.get(told, "no")}
    if attempts := most or text(policy.get("max_attempts")):
        restart["max"] = int(attempts) if attempts.isdecimal() else None
    return {key: value for key, value in restart.items() if value is not None}


def _replicas(service: dict[str, Any]) -> int | None:
    wanted = service.get("scale", table(service.get("deploy"), "deploy").get("replicas"))
    return wanted if isinstance(wanted, int) and wanted > 1 else None


def _limits(service: dict[str, Any]) -> Component:
    resources = table(table(service.get("deploy"), "deploy").get("resources"), "deploy.resources")
    given = table(resources.get("limits"), "deploy.resources.limits")
    files = table(service.get("ulimits"), "ulimits").get("nofile")
    found = {
        "memory": memory(service.get("mem_limit", given.get("memory"))),
        "processes": whole(service.get("pids_limit", given.get("pids"))),
        "open_files": whole(files.get("soft") if isinstance(files, dict) else files),
    }
    return {key: value for key, value in found.items() if value is not None}


def _metadata(service: dict[str, Any]) -> Component:
    labels = {name: literal(value or "") for name, value in assignments(service.get("labels"), "labels").items()}
    return {"labels": labels} if labels else {}


def _healthcheck(
    draft: Draft, place: str, service: dict[str, Any], address: Callable[[int], str | None], inside: list[str]
) -> Component:
    """The probe that a healthcheck stands for. *inside* is what runs a command where the service runs."""
    place = f"{place}.healthcheck"
    check = table(service.get("healthcheck"), place)
    draft.drop(place, check, {}, _KNOWN_OF_HEALTHCHECK)
    test = check.get("test")
    words = [text(word) for word in test] if isinstance(test, list) else ["CMD-SHELL", text(test)]
    if not check or check.get("disable") or len(words) < 2 or words[0] == "NONE" or not words[-1]:
        return {}
    probe = _http_probe(" ".join(words[1:]), address) or {"exec": [*inside, *_check_command(words)]}
    probe["interval"] = seconds(check.get("start_interval", check.get("interval")))
    probe["timeout"], probe["failures"] = seconds(check.get("timeout")), whole(check.get("retries"))
    found: Component = {"ready": {key: value for key, value in probe.items() if value}}
    if start := seconds(check.get("start_period")):
        found["start_timeout"] = max(
            60.0, start + (seconds(check.get("interval")) or 30.0) * (whole(check.get("retries")) or 3)
        )
    return found


def _http_probe(command: str, address: Callable[[int], str | None]) -> Component | None:
    """A probe of our own for what curl or wget ask, if that can be reached from outside."""
    match = _HTTP_CHECK.search(command)
    base = None if match is None else address(int(match[1] or 80))
    return None if match is None or base is None else {"http": replaced(f"{base}{match[2] or '/'}")}


def _check_command(words: list[str]) -> list[str]:
    kind, *rest = words
    return ["sh", "-c", replaced(rest[0])] if kind == "CMD-SHELL" else [replaced(word) for word in rest]


def _note_hosts(draft: Draft, place: str, variables: Mapping[str, str | None]) -> None:
    """Names of services are host names in compose, and nowhere else."""
    for name, value in variables.items():
        hosts = re.findall(r"(?:^|//|@)([A-Za-z0-9_-]+)(?=:\d|/|$)", value or "")
        for host in dict.fromkeys(host for host in hosts if draft.knows(host)):
            draft.note(f"{place}.environment.{name}", f"names the service {host!r} as a host; here it is localhost")
