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
    """deploy/compose.yaml: each service starts when what it depends on is as it wants it, and an order is billed."""
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
        comes_true(pods["shop"], services["shop"], "service_healthy")
        shown = json.loads(pods["tekton-core"].execute("tekton", "ps", "-o", "json").stdout)["components"]
        assert {one["component_id"]: one["state"] for one in shown} == {"billing": "ready", "shop": "ready"}
        until(lambda: order(pods["shop"]), "an order is billed")
        for name in ("shop", "billing", "tekton-core"):
            pods[name].signal(signal.SIGTERM)
            assert pods[name].ended(PATIENCE) == 0, pods[name].said()
    finally:
        for pod in pods.values():
            if pod.pid:
                pod.kill()
    return "deploy/compose.yaml: keys made, all healthy, an order billed, all stopped with status 0"


def service_pod(image: Image, place: Path, name: str, service: dict[str, Any], address: str, hosts: Path) -> Pod:
    """One service of compose.yaml as a container."""
    mounts, written = {"/etc/hosts": hosts}, []
    for volume_ in service["volumes"]:
        source, target, *readonly = volume_.split(":")
        mounts[target] = (ROOT / "deploy" / source).resolve() if source.startswith(".") else named_volume(place, source)
        written += [] if readonly else [target]
    environment = {key: value.replace("${HERMES_URL:-}", "") for key, value in service["environment"].items()}
    command = [word.replace("$$", "$") for word in service.get("command", [])]
    directory = service.get("working_dir", "")
    log = place / f"compose-{name}.log"
    return Pod(image, address, 10001, mounts, log, written, (), environment, command, directory)


def comes_true(pod: Pod, service: dict[str, Any], condition: str) -> None:
    """Wait for what another service waits for."""
    if condition == "service_completed_successfully":
        assert pod.ended(PATIENCE) == 0, pod.said()
    else:
        check = service["healthcheck"]["test"][1:]
        until(lambda: pod.execute(*check, check=False).returncode == 0, f"healthy\n{pod.said()}")


def order(shop: Pod) -> bool:
    """Order something, and see whether it, or what was ordered before, has been billed."""
    script = (
        "import json, urllib.request as r; u = 'http://127.0.0.1:8020/api/orders';"
        "r.urlopen(r.Request(u, b'{\"item\": \"tea\"}', {'content-type': 'application/json'}));"
        "raise SystemExit(0 if any(json.load(r.urlopen(u))['billed'].values()) else 1)"
    )
    return shop.execute("python", "-c", script, check=False).returncode == 0
