"""A component: a Deployment, or a Job for one that runs once, and the service of its port."""

from tekton.generate.blueprint import DATA, Blueprint, Part, is_secret, probe_command, whole_seconds
from tekton.generate.kubernetes.objects import (
    MEMBER,
    SERVICE,
    Manifest,
    a_pod,
    a_service,
    an_object,
    env_of,
    host_name,
    http_path,
)
from tekton.generate.variables import written_for
from tekton.utils.tekton_config import ProbeSpec

_POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def workload(system: Blueprint, part: Part) -> list[Manifest]:
    """The manifests of one component."""
    spec, host = part.spec, host_name(part.name)
    labels = {"app": host, **MEMBER}
    container: Manifest = {
        "name": host,
        "image": system.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [written_for(word, _reference, "$$") for word in part.command],
        "workingDir": part.directory,
        "env": [_POD_IP, *_variables(system, part)],
        **_open_port(part),
        **_from_secret(part),
        "resources": _resources(part),
        **_probes(part),
    }
    volumes: list[Manifest] = [
        {"name": "credential", "secret": {"secretName": f"{host}-credential", "defaultMode": 0o440}},
        {"name": "data", "emptyDir": {}},
    ]
    mounts: list[Manifest] = [
        {"name": "credential", "mountPath": "/credential", "readOnly": True},
        {"name": "data", "mountPath": DATA},
    ]
    pod = a_pod(labels, container, mounts, volumes, grace=whole_seconds(spec.stop_timeout + spec.drain))
    if part.runs_once:
        pod["spec"]["restartPolicy"] = "Never"
        job = {"backoffLimit": 0 if spec.restart.policy == "no" else spec.restart.max, "template": pod}
        return [{**an_object("batch/v1", "Job", host, labels), "spec": job}]
    deployment: Manifest = {
        "replicas": spec.replicas,
        "strategy": _strategy(spec.replicas),
        "selector": {"matchLabels": {"app": host}},
        "template": pod,
    }
    found = [{**an_object("apps/v1", "Deployment", host, labels), "spec": deployment}]
    return found if not spec.port else [*found, a_service(f"{host}-service", {"app": host}, spec.port)]


def _strategy(replicas: int) -> Manifest:
    """A component that is one is never two: not even while it is replaced."""
    if replicas == 1:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _variables(system: Blueprint, part: Part) -> list[Manifest]:
    host, port = host_name(part.name), part.spec.port
    own = {f"{part.prefix}_ALLOWED_HOSTS": f"{host}-service"}
    if port:
        own[f"{part.prefix}_URL"] = f"http://$(POD_IP):{port}"
    left = left_out(part)
    written = {name: written_for(text, _reference, "$$") for name, text in part.variables.items() if name not in left}
    told = {
        "TEKTON_URL": f"http://{SERVICE}:8010",
        **part.place(),
        **own,
        **system.addresses(part, lambda name: f"{host_name(name)}-service"),
        **written,
    }
    return env_of(told)


def left_out(part: Part) -> list[str]:
    """The variables that have their secrets written out, and those to which others refer: a secret has to have them."""
    written = [name for name, text in part.variables.items() if is_secret(name, text)]
    wanted: list[str] = []

    def note(name: str, default: str | None) -> str:
        if default is None and name not in part.variables:
            wanted.append(name)
        return ""

    for text in (*part.command, *part.variables.values()):
        written_for(text, note)
    return list(dict.fromkeys([*written, *wanted]))


def _reference(name: str, default: str | None) -> str:
    return f"$({name})" if default is None else default.replace("$", "$$")


def _from_secret(part: Part) -> Manifest:
    needed = left_out(part) or part.env_files
    return {"envFrom": [{"secretRef": {"name": f"{host_name(part.name)}-env"}}]} if needed else {}


def _open_port(part: Part) -> Manifest:
    return {"ports": [{"name": "http", "containerPort": part.spec.port}]} if part.spec.port else {}


def _resources(part: Part) -> Manifest:
    most = part.spec.limits.memory
    if most is None:
        return {"requests": {"cpu": "50m", "memory": "64Mi"}}
    return {"requests": {"cpu": "50m", "memory": min(most, 64 << 20)}, "limits": {"memory": most}}


def _probes(part: Part) -> Manifest:
    spec = part.spec
    if part.runs_once:
        return {}
    first = spec.startup or spec.ready or spec.liveness
    wanted = {"startupProbe": first, "livenessProbe": spec.liveness, "readinessProbe": spec.ready}
    found = {name: _probe(probe, spec.port) for name, probe in wanted.items() if probe is not None}
    if found.get("startupProbe"):
        found["startupProbe"] |= {"periodSeconds": 1, "failureThreshold": whole_seconds(spec.start_timeout)}
    if found.get("readinessProbe") and spec.ready is not None:
        found["readinessProbe"]["successThreshold"] = spec.ready.successes
    return {name: probe for name, probe in found.items() if probe}


def _probe(probe: ProbeSpec, port: int | None) -> Manifest:
    """*probe* as a kubelet does it; empty for one that it cannot do."""
    if (found := question(probe, port)) is None:
        return {}
    return {
        **found,
        "periodSeconds": whole_seconds(probe.interval or 5),
        "timeoutSeconds": whole_seconds(probe.timeout),
        "failureThreshold": probe.failures,
    }


def question(probe: ProbeSpec, port: int | None = None) -> Manifest | None:
    if probe.http is not None and probe.http.startswith("/"):
        return {"httpGet": http_path(probe.http)}
    if probe.tcp is not None:
        return {"tcpSocket": {"port": "http" if probe.tcp is True else probe.tcp}}
    command = probe_command(probe, port)
    return None if command is None else {"exec": {"command": command}}
