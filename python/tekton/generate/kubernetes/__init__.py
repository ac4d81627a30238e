"""Kubernetes: the control plane with its volume, a Deployment (or a Job) for each component, who may reach whom.

The control plane is called as in deploy/kubernetes: tekton-core, tekton-core-service, tekton-data-pvc.
"""

from tekton.generate.kubernetes.kustomization import kubernetes
from tekton.generate.kubernetes.objects import host_name

__all__ = ["host_name", "kubernetes"]
