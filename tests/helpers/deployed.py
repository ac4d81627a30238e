"""What others say of the files with which a system is deployed: the schemas of Kubernetes and of Docker Compose."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import kubernetes_validate
import yaml

__all__ = ["check_compose", "check_kubernetes"]


def check_kubernetes(text: str) -> list[dict[str, Any]]:
    """The objects of a stream of manifests, all of which a cluster would take. Raises ValidationError."""
    objects = [one for one in yaml.safe_load_all(text) if one is not None]
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    return objects


def check_compose(text: str) -> dict[str, Any]:
    """A compose file that is one. Raises ValidationError."""
    document: dict[str, Any] = yaml.safe_load(text)
    _compose_schema().validate(document)
    return document


@cache
def _compose_schema() -> Any:
    found = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return jsonschema_rs.validator_for(json.loads(found.read_text()))
