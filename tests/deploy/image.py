"""Is the image what its users expect? `image.py DIST` builds it of the wheel in DIST, and runs it, without an engine.

The steps of deploy/docker/Dockerfile are executed in root file systems of their own; the result runs as the manifests
of deploy/kubernetes say, with their probes, and with the wishes of several platforms: a root file system that cannot be
written, a user that nobody knows. And docs/tutorial.md is followed where there is nothing but Debian, Python and curl.

TEKTON_IMAGE_CACHE is where the Debian below it all is kept. Where it cannot be tried a line says why; with
TEKTON_IMAGE_REQUIRED that is a failure.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import bare_machine
from control_plane import NOBODY, manifest, serves_by_tls, starts_and_answers, stops_in_order
from pods import ADDRESSES
from rolling_update import rolls
from rootfs import Image, NoDebianError, base, build
from systems import build_system, runs_a_system, runs_compose

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("mmdebstrap", "bwrap", "nsenter", "setpriv", "unshare", "ip", "openssl")

_BEGAN = time.monotonic()


def main(dist: Path) -> None:
    """Build in the network of this machine, then run in one that has nothing but our pods."""
    if reason := not_here():
        not_tried(reason)
        return
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tekton-image"
    cache = Path(os.environ.get("TEKTON_IMAGE_CACHE", default))
    try:
        base(cache)
    except NoDebianError as error:
        not_tried(str(error))
        return
    with tempfile.TemporaryDirectory(prefix="tekton-image-", dir=in_memory()) as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "images.json").write_text(json.dumps([vars(one) for one in built(dist, cache, place)], default=str))
        alone = ["unshare", "--net", "--kill-child", sys.executable, __file__, "--run", directory]
        sys.exit(subprocess.run(alone, check=False).returncode)


def built(dist: Path, cache: Path, place: Path) -> list[Image]:
    """The images of the control plane and of a system, and the machine of a reader."""
    recipes = {
        "deploy/docker/Dockerfile": partial(build_core, cache, place, dist),
        "what tekton generate dockerfile makes of examples/orders": partial(build_system, cache, place, dist),
        "a machine with an installed wheel": partial(bare_machine.install, cache, place, dist),
    }
    with ThreadPoolExecutor() as pool:
        tasks = {name: pool.submit(recipe) for name, recipe in recipes.items()}
        images = {name: task.result() for name, task in tasks.items()}
    for name, image in images.items():
        say(f"the steps of {name}: {megabytes(image.root)}")
    return list(images.values())


def build_core(cache: Path, place: Path, dist: Path) -> Image:
    """The image of the control plane."""
    context = place / "context"
    for name in (".dockerignore", "deploy/requirements.txt"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, context / name)
    shutil.copytree(dist, context / "dist")
    return build(ROOT / "deploy/docker/Dockerfile", context, cache, place / "core")


def run(place: Path) -> None:
    """Everything that is tried of the images in *place*."""
    hear_signals()
    for words in (["link", "set", "lo", "up"], *(["addr", "add", f"{one}/32", "dev", "lo"] for one in ADDRESSES)):
        subprocess.run(["ip", *words], check=True)
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESSES[1]} tekton-core-service\n")
    core, system, machine = map(_image, json.loads((place / "images.json").read_text()))
    plain, production = manifest(None), manifest("production")
    for tried in (
        partial(bare_machine.is_enough, machine, place),
        partial(starts_and_answers, core, plain, place, NOBODY),
        # The volume of another user: as when the platform has chosen another one.
        partial(starts_and_answers, core, plain, place, int(core.user)),
        partial(stops_in_order, core, plain, place),
        partial(rolls, core, plain, place),
        partial(serves_by_tls, core, production, place),
        partial(runs_a_system, system, place),
        partial(runs_compose, core, place),
    ):
        say(tried())


def hear_signals() -> None:
    """What whoever runs this has ignored or blocked, containers would inherit."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _image(found: dict[str, Any]) -> Image:
    return Image(**{**found, "root": Path(found["root"])})


def not_here() -> str:
    """Why nothing can be tried here; empty when it can."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} is not here"
    if os.geteuid() != 0:
        return "it needs root, to be several users"
    tried = subprocess.run(["unshare", "--net", "--pid", "--fork", "bwrap", "--ro-bind", "/", "/", "true"], check=False)
    return "" if tried.returncode == 0 else "there are no namespaces to be had here"


def not_tried(why: str) -> None:
    """Say so, and fail if it has to be tried."""
    print(f"--  the image was not tried: {why}")
    if os.environ.get("TEKTON_IMAGE_REQUIRED"):
        sys.exit(1)


def in_memory() -> str | None:
    """Where there is room for what is built without a disk; None: nowhere. It is made and removed in half the time."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_bavail * found.f_frsize > 3 << 30 and not found.f_flag & os.ST_NOEXEC else None


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
