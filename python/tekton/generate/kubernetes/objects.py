"""What all manifests are made of: names, the parts that are the same everywhere, a pod with next to no rights."""

from typing import Any

from tekton.generate.blueprint import USER

Manifest = dict[str, Any]

SERVICE = "tekton-core-service"
MEMBER = {"tekton/component": "true"}
"""The label of those that the control plane calls, and that may call it."""


def host_name(name: str) -> str:
    """*name* as DNS takes it."""
    return name.lower().replace("_", "-").strip("-")


def an_object(version: str, kind: str, name: str, labels: dict[str, str]) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def a_service(name: str, selector: dict[str, str], port: int) -> Manifest:
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    return {**an_object("v1", "Service", name, selector), "spec": {"selector": selector, "ports": ports}}


def env_of(variables: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def http_path(path: str) -> Manifest:
    return {"path": path, "port": "http"}


def a_pod(
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
