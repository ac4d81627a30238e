"""attach: a running system in the foreground."""

from typing import Any


def test_it_tells_how_far_the_start_is_and_then_every_change(background: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes"), double.view("engram", "starting", dependencies=["hermes"])]
    plane.publish_after_snapshot(double.change(2, "engram", "starting", "ready"))
    run = background("attach")

    assert run.said().split()[1:5] == ["engram", "starting", "→", "ready"]
    assert run.said() == "  2 components: 2 ready"
    assert run.said().endswith("control.sock; Ctrl-C leaves it running")
    plane.publish(double.change(3, "hermes", "ready", "degraded"))
    assert run.said().split()[1:5] == ["hermes", "ready", "→", "degraded"]


def test_ctrl_c_leaves_the_system_running_and_says_so(background: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]
    run = background("attach")
    assert run.said() == "  1 component: 1 ready"
    run.said()

    assert run.interrupt() == 0
    assert run.said() == "detached: the system runs on; tekton down stops it"
    assert ("POST", "/api/system/stop") not in plane.requests


def test_it_ends_when_somebody_else_stops_the_system(tekton: Any, plane: Any, double: Any, impatient: None) -> None:
    plane.components = [double.view("hermes")]
    plane.on_stream = [plane.leave]

    result = tekton("attach")

    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "stopped"


def test_on_a_terminal_there_is_a_tree_while_it_starts(terminal: Any, plane: Any, double: Any) -> None:
    plane.components = [
        double.view("hermes", "starting", note="waiting for http /ready: no answer"),
        double.view("engram", "unknown", dependencies=["hermes"], generation=0),
    ]
    run = terminal("attach")
    run.until("waiting for hermes")
    run.until("no answer")
    plane.publish(double.change(2, "hermes", "starting", "ready"), double.change(3, "engram", "starting", "ready"))
    run.until("Ctrl-C leaves it running")

    assert run.interrupt() == 0


def test_of_a_component_with_replicas_the_replica_is_named(background: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("worker", replicas=2, max_instances=2)]
    views = [{"instance_uuid": f"{double.INSTANCE}1", "replica": 1}]
    plane.answers["GET /api/components/worker/instances"] = (200, {"items": views})
    run = background("attach")
    assert run.said() == "  1 component: 1 ready"
    run.said()

    # Its name was asked for before: the control plane may be about to leave.
    plane.answers["GET /api/components/worker/instances"] = double.problem(503, "unavailable", "stopping")
    plane.publish(double.change(2, "worker", "ready", "stopping", after={"max_instances": 2}))

    assert run.said().split()[1:] == ["worker.1", "ready", "→", "stopping"]
