"""The control plane: a Deployment of one replica, its volume, its service."""

from tekton.generate.blueprint import CORE, DATA, PRIVATE, Blueprint
from tekton.generate.kubernetes.objects import SERVICE, Manifest, a_pod, a_service, an_object, env_of, http_path
from tekton.generate.settings import PLACE, Settings

VARIABLES = "tekton-core-env"
MADE = "core-components.json"
"""Not components.json: that is the whole one, where the manifests are written beside it."""
_CONFIG = "tekton-core-config"


def control_plane(system: Blueprint) -> list[Manifest]:
    """The volume, the deployment and the service of the control plane."""
    labels = {"app": CORE}
    volumes: list[Manifest] = [{"name": "tekton-data", "persistentVolumeClaim": {"claimName": "tekton-data-pvc"}}]
    mounts: list[Manifest] = [{"name": "tekton-data", "mountPath": DATA}]
    env = {
        "TEKTON_HOST": "0.0.0.0",
        "TEKTON_PORT": "8010",
        "TEKTON_DATA_DIR": DATA,
        "TEKTON_SECURITY_ALLOWED_HOSTS": SERVICE,
        "TEKTON_SECURITY_CALLBACK_NETWORKS": PRIVATE,
    }
    if system.settings.files:
        env["TEKTON_CONFIG_FILE"] = system.settings.named
        volumes.append({"name": "config", **_kept(system.settings)})
        mounts.append({"name": "config", "mountPath": PLACE, "readOnly": True})
    container: Manifest = {
        "name": CORE,
        "image": system.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "tekton.service.main"],
        "workingDir": DATA,
        "ports": [{"name": "http", "containerPort": 8010}],
        "env": env_of(env),
        **({"envFrom": [{"secretRef": {"name": VARIABLES}}]} if left_open(system.settings) else {}),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "startupProbe": {"httpGet": http_path("/api/health"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": http_path("/api/health"), "periodSeconds": 10, "timeoutSeconds": 3},
        "readinessProbe": {"httpGet": http_path("/api/ready"), "periodSeconds": 5, "timeoutSeconds": 3},
    }
    return [
        _claim("tekton-data-pvc", "10Gi"),
        {
            **an_object("apps/v1", "Deployment", CORE, labels),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": a_pod(labels, container, mounts, volumes, grace=30),
            },
        },
        a_service(SERVICE, labels, 8010),
    ]


def left_open(settings: Settings) -> list[str]:
    """The variables without which the control plane does not start: a secret has to have them."""
    return [name for name, default in settings.variables.items() if default is None]


def generator(settings: Settings) -> Manifest:
    """What of a kustomization makes the volume of the configuration; nothing where there is none."""
    if not settings.files:
        return {}
    kind = "secretGenerator" if settings.secret else "configMapGenerator"
    files = [f"{name}={MADE}" if name == settings.made else name for name in settings.files]
    return {kind: [{"name": _CONFIG, "files": files}]}


def beside(settings: Settings) -> dict[str, str]:
    """The files of the configuration, as they lie beside the manifests."""
    return {MADE if name == settings.made else name: text for name, text in settings.files.items()}


def _kept(settings: Settings) -> Manifest:
    """Where the configuration is: in a secret, which only a group may read, if there may be one in it."""
    if settings.secret:
        return {"secret": {"secretName": _CONFIG, "defaultMode": 0o440}}
    return {"configMap": {"name": _CONFIG}}


def _claim(name: str, size: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {**an_object("v1", "PersistentVolumeClaim", name, {"app": CORE}), "spec": spec}
