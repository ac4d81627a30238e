"""Kubernetes: the control plane with its volume, a Deployment (or a Job) for each component, who may reach whom.

The control plane is called as in deploy/kubernetes: tekton-core, tekton-core-service, tekton-data-pvc.
"""

from typing import Any

from tekton.generate.blueprint import (
    CORE,
    DATA,
    USER,
    Blueprint,
    Generated,
    Part,
    is_secret,
    probe_command,
    whole_seconds,
    written_for,
)
from tekton.generate.yaml_text import yaml_text
from tekton.utils.tekton_config import ProbeSpec

Manifest = dict[str, Any]

SERVICE = "tekton-core-service"
_PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
_POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
_MEMBER = {"tekton/component": "true"}

_ABOUT_SYSTEM = """\
The system {name}: kubectl apply -k .

Set the image to one that your cluster can pull, of the Dockerfile that `tekton generate dockerfile` writes.
"""
_ABOUT_CORE = """\
The control plane. Its one replica has the data: the old one has to be gone before the new one starts.

A component that runs in a pod needs a credential, once:
    kubectl exec deploy/tekton-core -- tekton auth key create --subject NAME --role component |
        kubectl create secret generic NAME-credential --from-file=key=/dev/stdin
"""
_ABOUT_COMPONENT = """\
{name}. Its pods start when the secret {host}-credential is there: see core.yaml.
"""
_ABOUT_VARIABLES = """\
The secret {host}-env has what is not written here: {names}.
"""
_ABOUT_FILES = """\
The secret {host}-env has what is in {files}: kubectl create secret generic {host}-env --from-env-file={files}
"""
_ABOUT_READY = """\
Only Tekton knows when it is ready: nothing that a probe can ask says so.
"""
_ABOUT_NETWORK = """\
Who may reach whom: the components each other and the control plane, nobody else any of them.
"""


def kubernetes(system: Blueprint) -> Generated:
    """The manifests of *system*, with a kustomization."""
    files = {
        "core.yaml": _documents(_ABOUT_CORE, _core(system)),
        **{f"{host_name(part.name)}.yaml": _documents(_about(part), _component(system, part)) for part in system.parts},
        "networkpolicy.yaml": _documents(_ABOUT_NETWORK, _network()),
    }
    kustomization: Manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "labels": [{"pairs": {"app.kubernetes.io/part-of": host_name(system.name)}}],
        "resources": list(files),
    }
    if system.main is not None:
        kustomization[f"{_kept_in(system)}Generator"] = [{"name": "tekton-core-config", "files": [system.main]}]
        files[system.main] = (system.directory / system.main).read_text("utf-8")
    shown = "---\n".join(text for name, text in files.items() if name.endswith(".yaml"))
    files["kustomization.yaml"] = yaml_text(kustomization, _ABOUT_SYSTEM.format(name=system.name))
    return Generated(files, shown)


def host_name(name: str) -> str:
    """*name* as DNS takes it."""
    return name.lower().replace("_", "-").strip("-")


def _documents(about: str, manifests: list[Manifest]) -> str:
    first, *rest = manifests
    return "---\n".join([yaml_text(first, about), *map(yaml_text, rest)])


def _about(part: Part) -> str:
    host = host_name(part.name)
    text = _ABOUT_COMPONENT.format(name=part.name, host=host)
    if left := _left_out(part):
        text += _ABOUT_VARIABLES.format(host=host, names=", ".join(left))
    if part.env_files:
        text += _ABOUT_FILES.format(host=host, files=" ".join(part.env_files))
    return text + (_ABOUT_READY if part.spec.ready and _asked(part.spec.ready) is None else "")


def _core(system: Blueprint) -> list[Manifest]:
    labels = {"app": CORE}
    volumes: list[Manifest] = [{"name": "tekton-data", "persistentVolumeClaim": {"claimName": "tekton-data-pvc"}}]
    mounts: list[Manifest] = [{"name": "tekton-data", "mountPath": DATA}]
    env = {
        "TEKTON_HOST": "0.0.0.0",
        "TEKTON_PORT": "8010",
        "TEKTON_DATA_DIR": DATA,
        "TEKTON_SECURITY_ALLOWED_HOSTS": SERVICE,
        "TEKTON_SECURITY_CALLBACK_NETWORKS": _PRIVATE,
    }
    if system.main is not None:
        env["TEKTON_CONFIG_FILE"] = f"/etc/tekton/{system.main}"
        kept, key = _kept_in(system), "secretName" if _kept_in(system) == "secret" else "name"
        volumes.append({"name": "config", kept: {key: "tekton-core-config"}})
        mounts.append({"name": "config", "mountPath": "/etc/tekton", "readOnly": True})
    container: Manifest = {
        "name": CORE,
        "image": system.image,
        "command": ["python", "-m", "tekton.service.main"],
        "workingDir": DATA,
        "ports": [{"name": "http", "containerPort": 8010}],
        "env": _env(env),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "startupProbe": {"httpGet": _path("/api/health"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": _path("/api/health"), "periodSeconds": 10, "timeoutSeconds": 3},
        "readinessProbe": {"httpGet": _path("/api/ready"), "periodSeconds": 5, "timeoutSeconds": 3},
    }
    return [
        _claim("tekton-data-pvc", "10Gi"),
        {
            **_object("apps/v1", "Deployment", CORE, labels),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": _pod(labels, container, mounts, volumes, grace=30),
            },
        },
        _service(SERVICE, labels, 8010),
    ]


def _kept_in(system: Blueprint) -> str:
    """Where the main file goes: a secret, if there may be one in it."""
    return "secret" if "secret" in (system.directory / str(system.main)).read_text("utf-8") else "configMap"


def _component(system: Blueprint, part: Part) -> list[Manifest]:
    spec, host = part.spec, host_name(part.name)
    labels = {"app": host, **_MEMBER}
    container: Manifest = {
        "name": host,
        "image": system.image,
        "command": [written_for(word, _reference, "$$") for word in part.command],
        "workingDir": part.directory,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *_variables(system, part),
        ],
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
    pod = _pod(labels, container, mounts, volumes, grace=whole_seconds(spec.stop_timeout + spec.drain))
    if part.runs_once:
        pod["spec"]["restartPolicy"] = "Never"
        job = {"backoffLimit": 0 if spec.restart.policy == "no" else spec.restart.max, "template": pod}
        return [{**_object("batch/v1", "Job", host, labels), "spec": job}]
    deployment: Manifest = {
        "replicas": spec.replicas,
        "strategy": _strategy(spec.replicas),
        "selector": {"matchLabels": {"app": host}},
        "template": pod,
    }
    found = [{**_object("apps/v1", "Deployment", host, labels), "spec": deployment}]
    return found if not spec.port else [*found, _service(f"{host}-service", {"app": host}, spec.port)]


def _strategy(replicas: int) -> Manifest:
    """A component that is one is never two: not even while it is replaced."""
    if replicas == 1:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _pod(
    labels: dict[str, str], container: Manifest, mounts: list[Manifest], volumes: list[Manifest], grace: int
) -> Manifest:
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container["volumeMounts"] = [*mounts, {"name": "tmp", "mountPath": "/tmp"}]
    return {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": 0,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [*volumes, {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
        },
    }


def _variables(system: Blueprint, part: Part) -> list[Manifest]:
    host, port = host_name(part.name), part.spec.port
    own = {f"{part.prefix}_ALLOWED_HOSTS": f"{host}-service"}
    if port:
        own[f"{part.prefix}_URL"] = f"http://$(POD_IP):{port}"
    left = _left_out(part)
    written = {name: written_for(text, _reference, "$$") for name, text in part.variables.items() if name not in left}
    told = {
        "TEKTON_URL": f"http://{SERVICE}:8010",
        **part.place(),
        **own,
        **system.addresses(part, lambda name: f"{host_name(name)}-service"),
        **written,
    }
    return _env(told)


def _env(variables: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _left_out(part: Part) -> list[str]:
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
    needed = _left_out(part) or part.env_files
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
    if (asked := _asked(probe, port)) is None:
        return {}
    return {
        **asked,
        "periodSeconds": whole_seconds(probe.interval or 5),
        "timeoutSeconds": whole_seconds(probe.timeout),
        "failureThreshold": probe.failures,
    }


def _asked(probe: ProbeSpec, port: int | None = None) -> Manifest | None:
    if probe.http is not None and probe.http.startswith("/"):
        return {"httpGet": _path(probe.http)}
    if probe.tcp is not None:
        return {"tcpSocket": {"port": "http" if probe.tcp is True else probe.tcp}}
    command = probe_command(probe, port)
    return None if command is None else {"exec": {"command": command}}


def _path(path: str) -> Manifest:
    return {"path": path, "port": "http"}


def _claim(name: str, size: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {**_object("v1", "PersistentVolumeClaim", name, {"app": CORE}), "spec": spec}


def _service(name: str, selector: dict[str, str], port: int) -> Manifest:
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    return {**_object("v1", "Service", name, selector), "spec": {"selector": selector, "ports": ports}}


def _object(version: str, kind: str, name: str, labels: dict[str, str]) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def _network() -> list[Manifest]:
    members = [{"podSelector": {"matchLabels": _MEMBER}}]
    core = [{"podSelector": {"matchLabels": {"app": CORE}}}]
    dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
    }
    return [
        {
            **_object("networking.k8s.io/v1", "NetworkPolicy", CORE, {"app": CORE}),
            "spec": {
                "podSelector": {"matchLabels": {"app": CORE}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": members, "ports": [{"port": "http"}]}],
                "egress": [{"to": members}, dns],
            },
        },
        {
            **_object("networking.k8s.io/v1", "NetworkPolicy", "tekton-components", {"app": CORE}),
            "spec": {
                "podSelector": {"matchLabels": _MEMBER},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [*members, *core]}],
            },
        },
    ]
