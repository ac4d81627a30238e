"""A rolling update: the replicas of a component are replaced while somebody calls them without pause."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_plane import GRACE, core_pod, running, stop
from pods import ADDRESSES, PATIENCE, Kubelet, Pod, until
from rootfs import Image
from volumes import FS_GROUP, as_secret, volume

PROGRAMS = Path(__file__).with_name("programs")


def rolls(image: Image, container: dict[str, Any], place: Path) -> str:
    """Two replicas of a component are replaced, one after the other, while another one calls them without pause."""
    data = volume(place / "data-rolls", group=FS_GROUP)
    with running(core_pod(image, container, place, data, groups=[FS_GROUP]), container) as (core, kubelet):
        kubelet.wait("readinessProbe")
        replica = member(image, place, core, "greeter")
        old = [replica(address) for address in ADDRESSES[2:4]]
        new = [replica(address) for address in ADDRESSES[4:6]]
        caller = member(image, place, core, "caller")(ADDRESSES[6])
        kubelets = {id(pod): Kubelet(pod, GREETER) for pod in (*old, *new)}
        try:
            for pod in old:
                started(pod, kubelets)
            caller.start()
            until(lambda: calls(caller)["answered"] > 100, f"calls are answered\n{caller.said()}\n{old[0].said()}")
            for before, after in zip(old, new, strict=True):
                started(after, kubelets)
                seen = calls(caller)["answered"]
                kubelets[id(before)].stop()
                before.signal(signal.SIGTERM)
                assert before.ended(PATIENCE) == 0, before.said()
                until(lambda: calls(caller)["answered"] > seen + 100, "calls go on")  # noqa: B023
            result = calls(caller)
        finally:
            for pod in (*old, *new, caller):
                if pod.pid:
                    kubelets[id(pod)].stop() if id(pod) in kubelets else None
                    pod.kill()
        assert result["failures"] == 0, result
        stop(core, kubelet, within=GRACE)
    return f"two replicas replaced one after the other: {result['answered']} calls, {result['failures']} failed"


GREETER: dict[str, Any] = {
    "ports": [{"name": "http", "containerPort": 8021}],
    "startupProbe": {"httpGet": {"path": "/api/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 60},
    "livenessProbe": {"httpGet": {"path": "/api/health", "port": "http"}, "periodSeconds": 10},
    "readinessProbe": {"httpGet": {"path": "/api/ready", "port": "http"}, "periodSeconds": 1},
}


def started(pod: Pod, kubelets: dict[int, Kubelet]) -> None:
    """Start it, and wait until it is ready."""
    pod.start()
    kubelets[id(pod)].start()
    kubelets[id(pod)].wait("readinessProbe")


def member(image: Image, place: Path, core: Pod, name: str) -> Callable[[str], Pod]:
    """Makes pods of a component, which has a key of its own as a secret would have it."""
    key = core.execute("tekton", "auth", "key", "create", "--subject", name, "--role", "component").stdout
    secret = as_secret(place / f"credential-{name}", {"key": key})

    def made(address: str) -> Pod:
        return Pod(
            image,
            address,
            10001,
            {
                "/app": PROGRAMS,
                "/credential": secret,
                "/data": volume(place / f"data-{name}-{address}", group=FS_GROUP),
                "/etc/hosts": place / "hosts",
            },
            place / f"{name}-{address}.log",
            groups=[FS_GROUP],
            environment={
                "TEKTON_URL": "http://tekton-core-service:8010",
                "TEKTON_CREDENTIAL_FILE": "/credential/key",
                "PORT": "8021",
                f"{name.upper()}_HOST": address,
                f"{name.upper()}_URL": f"http://{address}:8021",
                f"{name.upper()}_MAX_INSTANCES": "3",
                f"{name.upper()}_FORGET_AFTER": "3600",
            },
            command=["python", f"{name}.py"],
            directory="/app",
        )

    return made


def calls(caller: Pod) -> dict[str, Any]:
    """What the caller has told last."""
    lines = [line for line in caller.log.read_text().splitlines() if line.startswith("{")]
    none = {"answered": 0, "failed": [], "failures": 0}
    try:
        found: dict[str, Any] = json.loads(lines[-1]) if lines else none
    except ValueError:
        found = json.loads(lines[-2])  # the last line is being written
    return found
