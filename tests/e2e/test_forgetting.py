"""Instances that leave the registry by themselves, over HTTP, also when the control plane was killed meanwhile."""

import os
import signal
from collections.abc import Callable
from typing import Any

LONG = 3600.0
"""Seconds, more than this test takes."""


def fail(tekton: Any, name: str, **fields: Any) -> str:
    """Register a new instance, which then fails."""
    status, answer = tekton.request("POST", "/api/components", {"component_id": name, **fields})
    assert status in (200, 201), answer
    instance = str(answer["component"]["instance_uuid"])
    body = {"instance_uuid": instance, "state": "failed", "reason": "exit 1"}
    assert tekton.request("PUT", f"/api/components/{name}/state", body)[0] == 200
    return instance


def test_what_has_ended_leaves_when_it_said_it_would(tekton: Any, eventually: Callable[..., Any]) -> None:
    tekton.configure({})
    tekton.up()
    fail(tekton, "kept")
    fail(tekton, "quick", forget_after=0)
    instance = fail(tekton, "slow", forget_after=LONG)

    # At once, and the history knows why.
    eventually(lambda: tekton.request("GET", "/api/components/quick")[0] == 404, "quick was forgotten")
    newest, *_ = tekton.get("/api/components/quick/history")["items"]
    assert (newest["kind"], newest["reason"]) == ("deregistered", "forgotten 0 s after it failed")

    # The others are still there, and it is told of one of them when it leaves.
    assert tekton.component("kept")["forget_in"] is None
    slow = tekton.component("slow")
    assert LONG - 600 < slow["forget_in"] <= LONG + 1
    assert slow["note"].startswith("exit 1; forgotten in ")
    assert "  forgotten   in " in tekton.run("why", "slow").stdout

    # Another control plane knows of it, too.
    before = tekton.control_pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: tekton.control_pid != before and tekton.answers(), "another control plane")
    again = eventually(lambda: tekton.component("slow")["forget_in"], "it says again when slow leaves")
    assert again <= slow["forget_in"] + 1

    # What it says when it comes back holds from then on.
    fail(tekton, "slow", instance_uuid=instance, forget_after=0)
    eventually(lambda: tekton.request("GET", "/api/components/slow")[0] == 404, "slow was forgotten")
    assert tekton.component("kept")["state"] == "failed"
    assert tekton.stop() == 0
