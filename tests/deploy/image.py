"""Is the image what its users expect? `image.py DIST` builds it of the wheel in DIST, and runs it, without an engine.

The steps of deploy/docker/Dockerfile are executed in root file systems of their own; the result runs as the manifests
of deploy/kubernetes say, with their probes, and with the wishes of several platforms: a root file system that cannot be
written, a user that nobody knows. TEKTON_IMAGE_CACHE is where the Debian below it is kept.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pods import PATIENCE, Kubelet, Pod, until
from rootfs import Image, NoDebianError, base, build

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
NEEDED = ("mmdebstrap", "bwrap", "nsenter", "setpriv", "unshare", "ip", "openssl")
ADDRESSES = ("10.99.0.1", "10.99.0.2", "10.99.0.11", "10.99.0.12", "10.99.0.13", "10.99.0.14", "10.99.0.20")
NOBODY = 1_000_620_000
"""A user id as OpenShift gives them: it is in no password file."""
FS_GROUP = 10001

_BEGAN = time.monotonic()


def main(dist: Path) -> None:
    """Build in the network of this machine, then run in one that has nothing but our pods."""
    if reason := not_here():
        print(f"--  the image was not tried: {reason}")
        return
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tekton-image"
    cache = Path(os.environ.get("TEKTON_IMAGE_CACHE", default))
    with tempfile.TemporaryDirectory(prefix="tekton-image-", dir=in_memory()) as directory:
        place = Path(directory)
        place.chmod(0o755)
        context = place / "context"
        for name in (".dockerignore", "deploy/requirements.txt"):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
        shutil.copytree(dist, context / "dist")
        try:
            base(cache)
        except NoDebianError as error:
            print(f"--  the image was not tried: {error}")
            return
        with ThreadPoolExecutor() as pool:
            both = (
                pool.submit(build, ROOT / "deploy/docker/Dockerfile", context, cache, place / "core"),
                pool.submit(build_system, cache, place, dist),
            )
            image, system = (one.result() for one in both)
        say(f"the steps of deploy/docker/Dockerfile: {megabytes(image.root)}")
        say(f"the steps of what tekton generate dockerfile makes of examples/orders: {megabytes(system.root)}")
        (place / "images.json").write_text(json.dumps([vars(one) for one in (image, system)], default=str))
        alone = ["unshare", "--net", "--kill-child", sys.executable, __file__, "--run", directory]
        sys.exit(subprocess.run(alone, check=False).returncode)


def in_memory() -> str | None:
    """Where there is room for what is built without a disk; None: nowhere. It is made and removed in half the time."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_bavail * found.f_frsize > 3 << 30 and not found.f_flag & os.ST_NOEXEC else None


def not_here() -> str:
    """Why nothing can be tried here; empty when it can."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} is not here"
    if os.geteuid() != 0:
        return "it needs root, to be several users"
    tried = subprocess.run(["unshare", "--net", "--pid", "--fork", "bwrap", "--ro-bind", "/", "/", "true"], check=False)
    return "" if tried.returncode == 0 else "there are no namespaces to be had here"


def build_system(cache: Path, place: Path, dist: Path) -> Image:
    """The image of the example orders, of the Dockerfile that is generated for it."""
    context = place / "orders"
    shutil.copytree(ROOT / "examples/orders", context, ignore=shutil.ignore_patterns("data", "__pycache__", ".tekton"))
    tekton = Path(sys.executable).with_name("tekton")
    subprocess.run([tekton, "generate", "dockerfile", "-o", "."], cwd=context, check=True, capture_output=True)
    return build(context / "Dockerfile", context, cache, place / "system", dist.resolve())


def run(place: Path) -> None:
    """Everything that is tried of the images in *place*."""
    for words in (["link", "set", "lo", "up"], *(["addr", "add", f"{one}/32", "dev", "lo"] for one in ADDRESSES)):
        subprocess.run(["ip", *words], check=True)
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESSES[1]} tekton-core-service\n")
    core, system = (_image(found) for found in json.loads((place / "images.json").read_text()))
    plain, production = manifest(None), manifest("production")
    starts_and_answers(core, plain, place)
    stops_in_order(core, plain, place)
    rolls(core, plain, place)
    serves_by_tls(core, production, place)
    runs_a_system(system, place)
    runs_compose(core, place)


def _image(found: dict[str, Any]) -> Image:
    return Image(**{**found, "root": Path(found["root"])})


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


def starts_and_answers(image: Image, container: dict[str, Any], place: Path) -> None:
    """It comes up, is well to its own health check, leaves no zombies, and stops with status 0; then once more."""
    data = volume(place / "data-nobody", group=0)
    for number, user in enumerate((NOBODY, int(image.user))):
        if number:
            # The volume of another user: as when the platform has chosen another one.
            data = volume(place / "data-10001", group=0)
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
            took = stop(pod, kubelet, within=container_grace())
        # Where nobody has a home, engines say that it is /.
        pod = core_pod(image, container, place, data, user=user)
        pod.environment = {**pod.environment, "HOME": "/"}
        with running(pod, container) as (pod, kubelet):
            kubelet.wait("readinessProbe")
            listed = json.loads(pod.execute("tekton", "auth", "key", "list", "-o", "json").stdout)
            assert [one["subject"] for one in listed["items"]] == ["billing"], listed
            assert whoami(pod, key.stdout.strip()) == "billing"
            stop(pod, kubelet, within=container_grace())
        say(f"as user {user}: started after {started:.1f} s, stopped after {took:.1f} s with status 0, data intact")


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


def stops_in_order(image: Image, container: dict[str, Any], place: Path) -> None:
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
        status = pod.ended(container_grace())
        took = time.monotonic() - told
        alive = [at for at, kind, well in kubelet.seen if kind == "livenessProbe" and well and at > unready]
    assert status == 0, f"exit status {status}\n{pod.said()}"
    assert alive, "it was not alive while it stopped"
    say(
        f"SIGTERM: not ready after {unready - told:.2f} s, alive for {alive[-1] - unready:.1f} s more, "
        f"ended after {took:.1f} s"
    )


SLOW = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(0)))
print("here", flush=True)
while True: signal.pause()
"""


def rolls(image: Image, container: dict[str, Any], place: Path) -> None:
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
        stop(core, kubelet, within=container_grace())
    say(f"two replicas replaced one after the other: {result['answered']} calls, {result['failures']} failed")


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


def serves_by_tls(image: Image, container: dict[str, Any], place: Path) -> None:
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
        took = stop(pod, kubelet, within=container_grace())
    say(f"by TLS, with a key of mode 0440: ready, healthy, stopped after {took:.1f} s with status 0")


def runs_a_system(image: Image, place: Path) -> None:
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
    say("the generated image: both components ready, healthy, stopped by SIGTERM with status 0")


def runs_compose(image: Image, place: Path) -> None:
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
    say("deploy/compose.yaml: keys made, all healthy, an order billed, all stopped with status 0")


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


def named_volume(place: Path, name: str) -> Path:
    """A volume as Docker makes it: with owner and mode of the folder in the image on which it is mounted."""
    folder = place / f"volume-{name}"
    if not folder.exists():
        folder.mkdir()
        os.chown(folder, 10001, 0)
        folder.chmod(0o2770)
    return folder


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


def container_grace() -> float:
    """Seconds between SIGTERM and SIGKILL."""
    return 30.0


def volume(place: Path, *, group: int) -> Path:
    """An empty volume as a platform gives it: root's, for a group."""
    place.mkdir()
    os.chown(place, 0, group)
    place.chmod(0o2770)
    return place


def as_secret(place: Path, files: dict[str, str]) -> Path:
    """*files* as a kubelet mounts a secret: links to a folder that is replaced as a whole, readable by a group."""
    kept = place / "..2026"
    kept.mkdir(parents=True)
    (place / "..data").symlink_to("..2026")
    for name, text in files.items():
        (kept / name).write_text(text)
        os.chown(kept / name, 0, FS_GROUP)
        (kept / name).chmod(0o440)
        (place / name).symlink_to(f"..data/{name}")
    return place


def certificate() -> dict[str, str]:
    """A certificate of our own, and its key."""
    with tempfile.TemporaryDirectory() as directory:
        paths = Path(directory, "tls.crt"), Path(directory, "tls.key")
        name = ["-subj", "/CN=tekton-core-service", "-addext", "subjectAltName=DNS:tekton-core-service"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", paths[1]]
        made = ["openssl", "req", "-x509", "-days", "2", *name, *key, "-out", paths[0]]
        subprocess.run(made, check=True, capture_output=True)
        return {path.name: path.read_text() for path in paths}


def megabytes(root: Path) -> str:
    """The size of a root file system."""
    told = subprocess.run(["du", "-sm", root], capture_output=True, text=True, check=True).stdout
    return f"{told.split()[0]} MB"


def say(what: str) -> None:
    print(f"ok  {what} ({time.monotonic() - _BEGAN:.0f} s)", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        run(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
