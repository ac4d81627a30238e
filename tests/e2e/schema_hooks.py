"""What schemathesis is told beside the document: loaded by it, in its own process (`test_schema.py`).

It reads the document and makes requests from it: right ones and wrong ones. Some things the document cannot say, and
some the tool does not understand; each is here, with its reason.
"""

import atexit
import json
import os
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import schemathesis
from schemathesis.core.parameters import ParameterLocation

_KEY = "Idempotency-Key"
_MOST_REPLICAS = 2
_MOST_QUERY = 32_768

_keys = count()
_seen: dict[str, Counter[int]] = {}


@schemathesis.hook
def before_load_schema(_: Any, raw_schema: Any) -> None:
    """Pairs are described by `prefixItems`, of which the tool makes a schema that it then refuses."""
    _describe_pairs(raw_schema)


def _describe_pairs(value: Any) -> None:
    if isinstance(value, dict):
        if "prefixItems" in value:
            first, *others = value.pop("prefixItems")
            assert all(other == first for other in others), "only the tool's reading of equal members is known"
            value["items"] = first
        for member in value.values():
            _describe_pairs(member)
    elif isinstance(value, list):
        for member in value:
            _describe_pairs(member)


@schemathesis.hook
def filter_query(_: Any, query: Any) -> bool:
    """A head larger than the HTTP server reads at all is refused by it (431), before there is a request."""
    return len(urlencode(query or {}, doseq=True)) < _MOST_QUERY


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: Any) -> None:
    """Change what would make a right request another one than it is meant to be, or one that takes forever."""
    del kwargs
    wrong = case.meta is not None and case.meta.is_negative_at(ParameterLocation.HEADER)
    if case.headers and _KEY in case.headers and not wrong:
        # The tool has one right key, and with it all requests but the first would be another one's repetition.
        case.headers[_KEY] = f"key-{next(_keys)}"
    if case.query and str(case.query.get("follow")).lower() in ("true", "1"):
        # Then it is a stream, which ends with the request's timeout; streams have tests of their own.
        case.query["follow"] = "false"
    if isinstance(case.body, dict) and isinstance(case.body.get("command"), list) and case.operation.method == "put":
        # Made-up commands are not to be run. Wrong ones stay what they are.
        case.body["command"] = ["true" if isinstance(part, str) and part else part for part in case.body["command"]]
    if isinstance(case.body, dict) and type(replicas := case.body.get("replicas")) is int and 1 <= replicas <= 100:
        # A hundred processes are no better a test than two.
        case.body["replicas"] = min(replicas, _MOST_REPLICAS)


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    """Count the answers."""
    _seen.setdefault(case.operation.label, Counter())[response.status_code] += 1


@atexit.register
def _tell() -> None:
    if path := os.environ.get("TEKTON_SCHEMA_ANSWERS"):
        Path(path).write_text(json.dumps(_seen))
