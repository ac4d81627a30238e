"""process-compose: processes with probes, restarts and conditions; most of it has its like here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tekton.cli.importers.draft import (
    Component,
    Draft,
    ImportedError,
    assignments,
    items,
    literal,
    replaced,
    seconds,
    shell_command,
    table,
    text,
    whole,
)

_CONDITIONS = {
    "process_started": "started",
    "process_healthy": "ready",
    "process_log_ready": "ready",
    "process_completed": "completed",
    "process_completed_successfully": "completed",
}
_POLICIES = {"always": "always", "on_failure": "on-failure", "exit_on_failure": "no", "no": "no", "": "no"}
_KNOWN = (
    *("command", "entrypoint", "working_dir", "environment", "env_file", "depends_on", "availability"),
    *("readiness_probe", "liveness_probe", "ready_log_line", "shutdown", "replicas", "disabled", "namespace"),
    "description",
)
_KNOWN_ABOVE = ("version", "processes", "environment")
_REASONS = {
    "log_location": "the output of a component is in `tekton logs`",
    "log_configuration": "see `log` of a component",
    "is_daemon": "Tekton follows the process that it starts; let it stay in the foreground",
    "is_tty": "components have no terminal",
    "is_interactive": "components have no terminal",
    "is_foreground": "components have no terminal",
    "is_elevated": "see `user` of a component",
    "schedule": "nothing is started by the clock",
    "vars": "Tekton has no templates: write the values out, or use ${NAME}",
    "shell": "commands that need a shell get `sh`",
    "is_strict": "unknown keys are always refused",
}


def read_process_compose(document: object, path: Path) -> Draft:
    """The processes of a process-compose file. Raises ImportedError."""
    draft = Draft(path.parent)
    whole = table(document, str(path))
    processes = table(whole.get("processes"), "processes")
    if not processes:
        raise ImportedError(f"{path}: there are no processes in it")
    draft.drop(path.name, whole, _REASONS, _KNOWN_ABOVE)
    draft.name_all(processes, "processes")
    shared = assignments(whole.get("environment"), "environment")
    for name, entry in processes.items():
        place = f"processes.{name}"
        draft.components[draft.id_of(name)] = _component(draft, place, table(entry, place), shared)
    return draft


def _component(draft: Draft, place: str, process: dict[str, Any], shared: Mapping[str, str | None]) -> Component:
    draft.drop(place, process, _REASONS, _KNOWN)
    component: Component = {"command": _command(place, process)}
    variables = {**shared, **assignments(process.get("environment"), f"{place}.environment")}
    component["env"] = {name: replaced(value or "") for name, value in variables.items()}
    component["env_file"] = [text(name) for name in items(process.get("env_file"))]
    component["cwd"] = text(process.get("working_dir"))
    component["dependencies"] = _dependencies(draft, place, process)
    component |= _probes(draft, place, process) | _shutdown(draft, place, process)
    component["restart"] = _restart(draft, place, process)
    component["replicas"] = whole(process.get("replicas"))
    component["groups"] = [draft.id_of(text(process["namespace"]))] if process.get("namespace") else []
    component["metadata"] = {"description": text(process["description"])} if process.get("description") else {}
    if process.get("disabled") is True:
        component["profiles"] = ["disabled"]
        draft.note(f"{place}.disabled", "starts only with `tekton up --profile disabled`")
    return {key: value for key, value in component.items() if value not in (None, "", [], {})}


def _command(place: str, process: dict[str, Any]) -> list[str]:
    if process.get("entrypoint"):
        return [literal(text(word)) for word in items(process["entrypoint"])]
    if not process.get("command"):
        raise ImportedError(f"{place} has no command")
    return shell_command(text(process["command"]).strip())


def _dependencies(draft: Draft, place: str, process: dict[str, Any]) -> list[object]:
    found: list[object] = []
    for name, entry in table(process.get("depends_on"), f"{place}.depends_on").items():
        told = text(table(entry, f"{place}.depends_on.{name}").get("condition")) or "process_started"
        condition = _CONDITIONS.get(told)
        if condition is None:
            draft.note(f"{place}.depends_on.{name}", f"dropped: no condition is like {told!r}")
            continue
        if told == "process_completed":
            draft.note(f"{place}.depends_on.{name}", "must end well: a failure does not count as completed")
        found.append(
            draft.id_of(name) if condition == "ready" else {"component": draft.id_of(name), "condition": condition}
        )
    return found


def _probes(draft: Draft, place: str, process: dict[str, Any]) -> Component:
    found: Component = {}
    for key, ours in (("readiness_probe", "ready"), ("liveness_probe", "liveness")):
        if process.get(key) is not None:
            found[ours] = _probe(draft, f"{place}.{key}", table(process[key], f"{place}.{key}"))
    if process.get("ready_log_line"):
        import re

        found["ready"] = {"log": literal(re.escape(text(process["ready_log_line"])))}
    return found


def _probe(draft: Draft, place: str, probe: dict[str, Any]) -> Component | None:
    known = ("http_get", "exec", "period_seconds", "timeout_seconds", "success_threshold", "failure_threshold")
    reasons = {"initial_delay_seconds": "a probe begins at once, and may fail until `start_timeout`"}
    draft.drop(place, probe, reasons, known)
    if probe.get("http_get"):
        ours: Component = {"http": _url(table(probe["http_get"], place))}
    elif probe.get("exec"):
        ours = {"exec": shell_command(text(table(probe["exec"], place).get("command")))}
    else:
        draft.note(place, "dropped: it asks nothing")
        return None
    ours["interval"] = seconds(probe.get("period_seconds"))
    ours["timeout"] = seconds(probe.get("timeout_seconds"))
    ours["successes"], ours["failures"] = (whole(probe.get(f"{kind}_threshold")) for kind in ("success", "failure"))
    return {key: value for key, value in ours.items() if value}


def _url(get: dict[str, Any]) -> str:
    host, scheme = text(get.get("host")) or "127.0.0.1", text(get.get("scheme")) or "http"
    port = f":{text(get['port'])}" if get.get("port") else ""
    return replaced(f"{scheme}://{host}{port}/{text(get.get('path')).lstrip('/')}")


def _shutdown(draft: Draft, place: str, process: dict[str, Any]) -> Component:
    shutdown = table(process.get("shutdown"), f"{place}.shutdown")
    reasons = {"command": "a component is stopped by SIGTERM", "signal": "a component is stopped by SIGTERM"}
    if shutdown.get("signal") == 15:
        reasons.pop("signal")
    draft.drop(f"{place}.shutdown", shutdown, reasons, ("timeout_seconds", "signal"))
    return {"stop_timeout": seconds(shutdown.get("timeout_seconds"))}


def _restart(draft: Draft, place: str, process: dict[str, Any]) -> Component:
    place = f"{place}.availability"
    availability = table(process.get("availability"), place)
    told = text(availability.get("restart")).replace("false", "no")
    restart: Component = {"policy": _POLICIES.get(told, "on-failure")}
    if told == "exit_on_failure":
        draft.note(f"{place}.restart", "its failure does not end the others")
    draft.drop(place, availability, {}, ("restart", "max_restarts", "backoff_seconds"))
    if most := whole(availability.get("max_restarts")):
        restart["max"] = most
    if delay := seconds(availability.get("backoff_seconds")):
        restart["backoff"] = [delay, max(delay, 60.0)]
    return restart
