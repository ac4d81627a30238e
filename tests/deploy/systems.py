"""Whole systems in containers: of a generated Dockerfile all in one, of deploy/compose.yaml one for each service."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from control_plane import NOBODY, leaves_no_zombies
from pods import ADDRESSES, PATIENCE, Pod, until
from rootfs import Image, build
from volumes import named_volume, volume

ROOT = Path(__file__).resolve().parents[2]


def build_system(cache: Path, place: Path, dist: Path) -> Image:
    """The image of the example orders, of the Dockerfile that is generated for it."""
    context = place / "orders"
    shutil.copytree(ROOT / "examples/orders", context, ignore=shutil.ignore_patterns("data", "__pycache__", ".tekton"))
    tekton = Path(sys.executable).with_name("tekton")
    subprocess.run([tekton, "generate", "dockerfile", "-o", "."], cwd=context, check=True, capture_output=True)
    return build(context / "Dockerfile", context, cache, place / "system", dist.resolve())


def runs_a_system(image: Image, place: Path) -> str:
    """The generated image runs its whole system by `tekton up`, as process 1."""
    data = volume(place / "data-system", group=0)
    pod = Pod(image, ADDRESSES[1], NOBODY, {"/data": data}, place / "system.log", environment={"BILLS": "/data/bills"})
    pod.start()
    try:
        until(lambda: pod.execute(*image.health, check=False).returncode == 0, "it is healthy")
        pod.execute("tekton", "wait", "shop", "billing", "--timeout", "60s")
        leaves_no_zombies(pod)
        pod.signal(signal.SIGTERM)
        status = pod.ended(PATIENCE)
    finally:
        pod.kill()
    assert status == 0, f"exit status {status}\n{pod.said()}"
    return "the generated image: both components ready, healthy, stopped by SIGTERM with status 0"


def runs_compose(image: Image, place: Path) -> str:
    """deploy/compose.yaml: each service starts when what it depends on is as it wants it; what is stored stays."""
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    addresses = dict(zip(services, ADDRESSES[1:], strict=False))
    hosts = place / "compose-hosts"
    hosts.write_text("\n".join(["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]))
    pods = {name: service_pod(image, place, name, one, addresses[name], hosts) for name, one in services.items()}
    try:
        for name, service in services.items():
            for needed, how in service.get("depends_on", {}).items():
                comes_true(pods[needed], services[needed], how["condition"])
            pods[name].start()
        comes_true(pods["engram"], services["engram"], "service_healthy")
        until(lambda: states(pods["tekton-core"]) == {"engram": "ready", "hermes": "ready"}, "both are ready")
        ask(pods["engram"], "http://hermes:8001/api/registry/services", '"engram": "http://engram:8000"')
        ask(pods["engram"], "http://127.0.0.1:8000/api/memory/store", "stored", {"key": "a", "value": 1})
        for name in ("engram", "hermes"):
            pods[name].signal(signal.SIGTERM)
            assert pods[name].ended(PATIENCE) == 0, pods[name].said()
        assert states(pods["tekton-core"]) == {"engram": "stopped", "hermes": "stopped"}
        for name in ("hermes", "engram"):
            pods[name].start()
            comes_true(pods[name], services[name], "service_healthy")
        ask(pods["engram"], "http://hermes:8001/api/registry/services", '"engram": "http://engram:8000"')
        ask(pods["engram"], "http://127.0.0.1:8000/api/memory/a", '"value": 1')
        for name in ("engram", "hermes", "tekton-core"):
            pods[name].signal(signal.SIGTERM)
            assert pods[name].ended(PATIENCE) == 0, pods[name].said()
    finally:
        for pod in pods.values():
            if pod.pid:
                pod.kill()
    return "deploy/compose.yaml: keys made, all healthy, what is stored stays, all stopped with status 0"


def service_pod(image: Image, place: Path, name: str, service: dict[str, Any], address: str, hosts: Path) -> Pod:
    """One service of compose.yaml as a container."""
    mounts, written = {"/etc/hosts": hosts}, []
    for volume_ in service["volumes"]:
        source, target, *readonly = volume_.split(":")
        mounts[target] = (ROOT / "deploy" / source).resolve() if source.startswith(".") else named_volume(place, source)
        written += [] if readonly else [target]
    command = [word.replace("$$", "$") for word in service.get("command", [])]
    directory = service.get("working_dir", "")
    log = place / f"compose-{name}.log"
    return Pod(image, address, 10001, mounts, log, written, (), service["environment"], command, directory)


def comes_true(pod: Pod, service: dict[str, Any], condition: str) -> None:
    """Wait for what another service waits for."""
    if condition == "service_completed_successfully":
        assert pod.ended(PATIENCE) == 0, pod.said()
    else:
        check = service["healthcheck"]["test"][1:]
        until(lambda: pod.execute(*check, check=False).returncode == 0, f"healthy\n{pod.said()}")


def states(core: Pod) -> dict[str, str]:
    """The states of all components."""
    shown = json.loads(core.execute("tekton", "ps", "-o", "json").stdout)["components"]
    return {one["component_id"]: one["state"] for one in shown}


def ask(pod: Pod, url: str, wanted: str, body: object = None) -> None:
    """Ask from within *pod*; *wanted* is in the answer."""
    script = (
        "import sys, urllib.request as r; u, b = sys.argv[1:];"
        "q = r.Request(u, b.encode() or None, {'content-type': 'application/json'});"
        "print(r.urlopen(q, timeout=5).read().decode())"
    )
    answer = pod.execute("python", "-c", script, url, "" if body is None else json.dumps(body)).stdout
    assert wanted in answer, answer
