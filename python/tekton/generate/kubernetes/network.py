"""Who may reach whom: the components each other and the control plane, nobody else any of them."""

from tekton.generate.blueprint import CORE
from tekton.generate.kubernetes.objects import MEMBER, Manifest, an_object


def network() -> list[Manifest]:
    members = [{"podSelector": {"matchLabels": MEMBER}}]
    core = [{"podSelector": {"matchLabels": {"app": CORE}}}]
    dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
    }
    return [
        {
            **an_object("networking.k8s.io/v1", "NetworkPolicy", CORE, {"app": CORE}),
            "spec": {
                "podSelector": {"matchLabels": {"app": CORE}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": members, "ports": [{"port": "http"}]}],
                "egress": [{"to": members}, dns],
            },
        },
        {
            **an_object("networking.k8s.io/v1", "NetworkPolicy", "tekton-components", {"app": CORE}),
            "spec": {
                "podSelector": {"matchLabels": MEMBER},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [*members, *core]}],
            },
        },
    ]
