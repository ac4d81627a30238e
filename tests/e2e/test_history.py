"""The past of a real system: seen again after its control plane was killed, and without the file that was damaged."""

import os
import signal
from collections.abc import Callable
from typing import Any

Eventually = Callable[..., Any]

SLEEPER = {"command": ["sleep", "1000000"]}


def test_what_was_is_told_after_the_control_plane_was_killed(tekton: Any, eventually: Eventually) -> None:
    tekton.configure({"engram": SLEEPER, "rhetor": SLEEPER})
    tekton.up()
    tekton.until("rhetor")
    both_ready = tekton.until("engram")["changed_at"]
    both_ready = max(both_ready, tekton.component("rhetor")["changed_at"])
    assert tekton.run("stop", "rhetor").returncode == 0
    stopped_at = tekton.component("rhetor")["changed_at"]
    # What is asked about has been written by then.
    assert states_at(tekton, stopped_at) == {"engram": "ready", "rhetor": "stopped"}

    before = tekton.control_pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != before, "another control plane")

    assert states_at(tekton, both_ready) == {"engram": "ready", "rhetor": "ready"}
    assert states_at(tekton, stopped_at) == {"engram": "ready", "rhetor": "stopped"}
    shown = tekton.run("ps", "--at", f"{stopped_at:.6f}", "-o", "template={name} {state}").stdout
    assert shown == "engram ready\nrhetor stopped\n"
    long_ago = tekton.run("ps", "--at", "-30d")
    assert long_ago.returncode == 1
    assert "error[history_unknown]: nothing is known of" in long_ago.stderr

    tekton.stop()
    (tekton.data_dir / "telemetry.db").write_bytes(b"damaged" * 1000)
    tekton.up()
    tekton.until("engram")
    status, problem = tekton.request("GET", f"/api/system?at={both_ready:.6f}")
    assert (status, problem["code"]) == (410, "history_unknown")
    assert (tekton.data_dir / "telemetry.db.damaged").exists()
    assert tekton.get("/api/history")["problem"] is None


def states_at(tekton: Any, at: float) -> dict[str, str]:
    answer = tekton.get(f"/api/system?at={at:.6f}")
    assert answer["past"]["running"]
    return {one["component_id"]: one["state"] for one in answer["components"]}
