"""The folder of manifests, with a kustomization, and what each file says of itself."""

from tekton.generate.blueprint import CORE, Blueprint, Generated, Part
from tekton.generate.kubernetes.component import left_out, question, workload
from tekton.generate.kubernetes.control_plane import beside, control_plane, generator, left_open
from tekton.generate.kubernetes.network import network
from tekton.generate.kubernetes.objects import Manifest, host_name
from tekton.generate.programs import note
from tekton.generate.yaml_text import yaml_text

_ABOUT_SYSTEM = """\
The system {name}: kubectl apply -k .

Set the image to one that your cluster can pull, of the Dockerfile that `tekton generate dockerfile` writes.
"""
_ABOUT_CORE = """\
The control plane. Its one replica has the data: the old one has to be gone before the new one starts.

A component that runs in a pod needs a credential, once; its pods wait for it. As soon as the control plane runs:
    kubectl rollout status deploy/tekton-core
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
        "core.yaml": _documents(_about_core(system), control_plane(system)),
        **{f"{host_name(part.name)}.yaml": _documents(_about(part), workload(system, part)) for part in system.parts},
        "networkpolicy.yaml": _documents(_ABOUT_NETWORK, network()),
    }
    kustomization: Manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "labels": [{"pairs": {"app.kubernetes.io/part-of": host_name(system.name)}}],
        "resources": list(files),
    }
    shown = "---\n".join(files.values())
    files["kustomization.yaml"] = yaml_text(
        kustomization | generator(system.settings), _ABOUT_SYSTEM.format(name=system.name)
    )
    given = beside(system.settings)
    return Generated(files | given, shown, frozenset(given if system.settings.secret else ()))


def _documents(about: str, manifests: list[Manifest]) -> str:
    first, *rest = manifests
    return "---\n".join([yaml_text(first, about), *map(yaml_text, rest)])


def _about_core(system: Blueprint) -> str:
    text = _ABOUT_CORE
    if left := left_open(system.settings):
        text += "\n" + _ABOUT_VARIABLES.format(host=CORE, names=", ".join(left))
    return text + "".join(f"\n{one}\n" for one in (*system.settings.notes(), *note(system)))


def _about(part: Part) -> str:
    host = host_name(part.name)
    text = _ABOUT_COMPONENT.format(name=part.name, host=host)
    if left := left_out(part):
        text += _ABOUT_VARIABLES.format(host=host, names=", ".join(left))
    if part.env_files:
        text += _ABOUT_FILES.format(host=host, files=" ".join(part.env_files))
    return text + (_ABOUT_READY if part.spec.ready and question(part.spec.ready) is None else "")
