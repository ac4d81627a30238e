"""The image of the control plane as its manifests run it: how it starts, answers, serves by TLS, and stops.

Each of these returns what it has seen, in a sentence.
"""

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pods import ADDRESSES, Kubelet, Pod, until
from rootfs import Image
from volumes import FS_GROUP, as_secret, certificate, volume

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 1_000_620_000
"""A user id as OpenShift gives them: it is in no password file."""
GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL."""


def manifest(overlay: str | None) -> dict[str, Any]:
    """The container of the control plane in the base, or in an overlay."""
    container = _container(ROOT / "deploy/kubernetes/base/deployment.yaml")
    if overlay is None:
        return container
    changed = _container(ROOT / "deploy/kubernetes/overlays" / overlay / "deployment.yaml")
    return {**_merged(container, changed), "env": [*container["env"], *changed["env"]]}


def _container(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["containers"][0]
    return found


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: _merged(below.get(name), value) for name, value in above.items()}}


def starts_and_answers(image: Image, container: dict[str, Any], place: Path, user: int) -> str:
    """It comes up, is well to its own health check, leaves no zombies, and stops with status 0; then once more."""
    data = volume(place / f"data-{user}", group=0)
    began = time.monotonic()
    with running(core_pod(image, container, place, data, user=user), container) as (pod, kubelet):
        started = kubelet.wait("startupProbe") - began
        kubelet.wait("readinessProbe")
        pod.execute(*image.health)
        written = pod.execute("touch", "/opt/tekton/x", check=False)
        assert written.returncode != 0, "its root can be written"
        assert set(pod.execute("id", "-u").stdout.split()) == {str(user)}
        key = pod.execute("tekton", "auth", "key", "create", "--subject", "billing", "--role", "component")
        leaves_no_zombies(pod)
        took = stop(pod, kubelet, within=GRACE)
    # Where nobody has a home, engines say that it is /.
    pod = core_pod(image, container, place, data, user=user)
    pod.environment = {**pod.environment, "HOME": "/"}
    with running(pod, container) as (pod, kubelet):
        kubelet.wait("readinessProbe")
        listed = json.loads(pod.execute("tekton", "auth", "key", "list", "-o", "json").stdout)
        assert [one["subject"] for one in listed["items"]] == ["billing"], listed
        assert whoami(pod, key.stdout.strip()) == "billing"
        stop(pod, kubelet, within=GRACE)
    return f"as user {user}: started after {started:.1f} s, stopped after {took:.1f} s with status 0, data intact"


def leaves_no_zombies(pod: Pod) -> None:
    """What the engine has started in it, and left behind, is reaped."""
    before = len(pod.processes())
    pod.execute("sh", "-c", "sleep 0.3 & sleep 0.1 & exit 0")
    found: dict[int, str] = {}

    def gone() -> bool:
        found.clear()
        found.update(pod.processes())
        return len(found) <= before and "Z" not in found.values()

    try:
        until(gone, f"{before} processes again, none of them a zombie", 10)
    except AssertionError as error:
        raise AssertionError(f"{error}: {found}") from error


def whoami(pod: Pod, credential: str) -> str:
    """Whose *credential* it is, asked from another address."""
    script = (
        "import json, sys, urllib.request as r; "
        "q = r.Request(sys.argv[1], headers={'authorization': f'Bearer {sys.argv[2]}', 'host': 'tekton-core-service'});"
        "print(json.load(r.urlopen(q))['subject'])"
    )
    url = f"http://{pod.address}:8010/api/auth/whoami"
    return pod.execute("python", "-c", script, url, credential).stdout.strip()


def stops_in_order(image: Image, container: dict[str, Any], place: Path) -> str:
    """On SIGTERM it first says that it is not ready, goes on being alive while it stops, and ends with status 0."""
    config = place / "config-slow"
    config.mkdir()
    slow = {"command": ["python", "-c", SLOW], "ready": {"log": "here"}, "stop_timeout": 10}
    (config / "components.json").write_text(json.dumps({"components": {"slow": slow}}))
    pod = core_pod(image, container, place, volume(place / "data-slow", group=FS_GROUP), groups=[FS_GROUP])
    pod.mounts = {**pod.mounts, "/etc/tekton": config}
    pod.environment = {**pod.environment, "TEKTON_CONFIG_FILE": "/etc/tekton/components.json"}
    with running(pod, container, hurry=100) as (pod, kubelet):
        kubelet.wait("readinessProbe")
        pod.execute("tekton", "wait", "slow")
        told = time.monotonic()
        pod.signal(signal.SIGTERM)
        unready = kubelet.wait("readinessProbe", well=False)
        status = pod.ended(GRACE)
        took = time.monotonic() - told
        alive = [at for at, kind, well in kubelet.seen if kind == "livenessProbe" and well and at > unready]
    assert status == 0, f"exit status {status}\n{pod.said()}"
    assert alive, "it was not alive while it stopped"
    return (
        f"SIGTERM: not ready after {unready - told:.2f} s, alive for {alive[-1] - unready:.1f} s more, "
        f"ended after {took:.1f} s"
    )


SLOW = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(0)))
print("here", flush=True)
while True: signal.pause()
"""


def serves_by_tls(image: Image, container: dict[str, Any], place: Path) -> str:
    """With the overlay for production: its certificate and key from a secret, which only a group may read."""
    secret = as_secret(place / "tls", certificate())
    config = place / "config-tls"
    config.mkdir()
    shutil.copy(ROOT / "deploy/kubernetes/overlays/production/tekton.json", config)
    data = volume(place / "data-tls", group=FS_GROUP)
    pod = core_pod(image, container, place, data, groups=[FS_GROUP])
    pod.mounts = {**pod.mounts, "/etc/tekton": config, "/etc/tekton-tls": secret}
    with running(pod, container) as (pod, kubelet):
        kubelet.wait("readinessProbe")
        pod.execute(*image.health)
        took = stop(pod, kubelet, within=GRACE)
    return f"by TLS, with a key of mode 0440: ready, healthy, stopped after {took:.1f} s with status 0"


def core_pod(
    image: Image,
    container: dict[str, Any],
    place: Path,
    data: Path,
    *,
    user: int = 10001,
    groups: list[int] | None = None,
) -> Pod:
    """The control plane as *container* has it."""
    environment = {one["name"]: one["value"] for one in container["env"]}
    return Pod(
        image, ADDRESSES[1], user, {"/data": data}, place / "core.log", groups=groups or [], environment=environment
    )


@contextmanager
def running(pod: Pod, container: dict[str, Any], hurry: float = 1.0) -> Iterator[tuple[Pod, Kubelet]]:
    """The pod while it runs, with its probes; killed in the end if it still does."""
    pod.start()
    kubelet = Kubelet(pod, container, hurry=hurry)
    kubelet.start()
    try:
        yield pod, kubelet
    finally:
        kubelet.stop()
        pod.kill()


def stop(pod: Pod, kubelet: Kubelet, within: float) -> float:
    """Stop it; how long that took. Until then no probe of its life may have failed."""
    assert kubelet.failed("livenessProbe") == [], "it was not alive all the time"
    began = time.monotonic()
    pod.signal(signal.SIGTERM)
    status = pod.ended(within)
    assert status == 0, f"exit status {status}\n{pod.said()}"
    return time.monotonic() - began
