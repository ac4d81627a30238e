"""Runs images as a kubelet would: in namespaces of their own, as a user without rights, with probes at their periods.

All pods are in the network of the script, which has an address for each: a probe comes from that of the node, and no
pod is to another one "this machine".
"""

import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rootfs import Image

ADDRESSES = ("10.99.0.1", "10.99.0.2", "10.99.0.11", "10.99.0.12", "10.99.0.13", "10.99.0.14", "10.99.0.20")
"""Those of the network; the first is that of the node."""
PATIENCE = 60.0

_T = TypeVar("_T")


@dataclass
class Pod:
    """One container. `mounts` are folders of this machine by their places in it; those in `written` can be written."""

    image: Image
    address: str
    user: int
    mounts: Mapping[str, Path]
    log: Path
    written: Sequence[str] = ("/data",)
    groups: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    directory: str = ""
    pid: int = 0

    def start(self) -> None:
        """Run it; `pid` is its process 1, as this machine sees it."""
        for place, folder in self.mounts.items():
            _provide(self.image.root / place.lstrip("/"), folder.is_dir())
        reading, writing = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._sandbox(writing), "--", *self._confined(), *(self.command or self.image.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[writing],
                start_new_session=True,
            )
        os.close(writing)
        with os.fdopen(reading) as told:
            self.pid = json.loads(told.read())["child-pid"]

    def execute(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run *command* in it, as the engine does for `exec` and for health checks."""
        done = subprocess.run(self.entering(*command), capture_output=True, text=True, timeout=PATIENCE, check=False)
        if check and done.returncode:
            raise AssertionError(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n{self.said()}")
        return done

    def entering(self, *command: str, directory: str = "") -> list[str]:
        """The command of this machine that runs *command* in it, as a child of its own. No signal is ignored there."""
        entering = ["nsenter", f"--target={self.pid}", "--pid", "--mount", "--root", "--ipc", "--uts", "--wd"]
        variables = [f"{name}={value}" for name, value in self._variables().items()]
        begun = ["env", "--ignore-environment", "--default-signal", *([f"--chdir={directory}"] if directory else [])]
        return [*entering, *begun, *variables, *self._confined(), *command]

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to its process 1."""
        os.kill(self.pid, signum)

    def ended(self, within: float) -> int:
        """Its exit status. Raises TimeoutExpired."""
        return self._process.wait(within)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    def said(self) -> str:
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def processes(self) -> dict[int, str]:
        """The states of all processes in it, by their numbers there, without the one that asks."""
        script = (
            "import os\nfor p in os.listdir('/proc'):\n"
            " if p.isdigit() and int(p) != os.getpid():\n"
            "  try: print(p, open(f'/proc/{p}/stat').read().rpartition(')')[2].split()[0])\n"
            "  except OSError: pass"
        )
        lines = self.execute("/usr/bin/python3", "-c", script).stdout.splitlines()
        return {int(line.split()[0]): line.split()[1] for line in lines}

    def _sandbox(self, told: int) -> list[str]:
        mounted = [
            word
            for place, folder in self.mounts.items()
            for word in ("--bind" if place in self.written else "--ro-bind", str(folder), place)
        ]
        variables = [word for item in self._variables().items() for word in ("--setenv", *item)]
        return [
            *("bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "pod", "--as-pid-1"),
            *("--die-with-parent", "--info-fd", str(told), "--ro-bind", str(self.image.root), "/"),
            *("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp", *mounted, "--remount-ro", "/"),
            *("--chdir", self.directory or self.image.directory, "--clearenv", *variables),
        ]

    def _confined(self) -> list[str]:
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        return [
            *("/usr/bin/setpriv", f"--reuid={self.user}", "--regid=0", groups),
            *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
        ]

    def _variables(self) -> dict[str, str]:
        return {**self.image.environment, **self.environment}


def _provide(point: Path, is_folder: bool) -> None:
    """Something to mount on, which engines make in a layer of their own."""
    point.parent.mkdir(parents=True, exist_ok=True)
    point.mkdir(exist_ok=True) if is_folder else point.touch()


class Kubelet:
    """Does the probes of one pod, as its manifest says; `seen` are their answers, with the time of each."""

    def __init__(self, pod: Pod, container: Mapping[str, Any], *, hurry: float = 1.0) -> None:
        """*hurry* divides the periods."""
        self._pod = pod
        self._container = container
        self._hurry = hurry
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.seen: list[tuple[float, str, bool]] = []

    def start(self) -> None:
        """Begin with the startup probe; the others follow when that has succeeded."""
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Do no more probes."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait(self, kind: str, well: bool = True, within: float = PATIENCE) -> float:
        """When the probe *kind* was first answered so. Raises AssertionError when it was not, in that time."""

        def found() -> float | None:
            return next((at for at, name, answer in self.seen if (name, answer) == (kind, well)), None)

        with self._changed:
            came = self._changed.wait_for(lambda: found() is not None, within)
        if not came:
            raise AssertionError(f"no {kind} was {'well' if well else 'bad'}: {self.seen[-5:]}\n{self._pod.said()}")
        at = found()
        assert at is not None
        return at

    def failed(self, kind: str) -> list[float]:
        """When the probe *kind* has failed."""
        return [at for at, name, well in self.seen if name == kind and not well]

    def _run(self) -> None:
        first = self._container["startupProbe"]
        for _ in range(first["failureThreshold"]):
            if self._ask("startupProbe") or self._over.wait(first["periodSeconds"]):
                break
        for kind in ("livenessProbe", "readinessProbe"):
            thread = threading.Thread(target=self._go_on, args=[kind], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _go_on(self, kind: str) -> None:
        while not self._over.is_set():
            self._ask(kind)
            self._over.wait(self._container[kind].get("periodSeconds", 10) / self._hurry)

    def _ask(self, kind: str) -> bool:
        well = _answers(self._pod, self._container, self._container[kind])
        with self._changed:
            self.seen.append((time.monotonic(), kind, well))
            self._changed.notify_all()
        return well


def _answers(pod: Pod, container: Mapping[str, Any], probe: Mapping[str, Any]) -> bool:
    """One attempt of a probe by HTTP, from the address of the node."""
    asked = probe["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    port, timeout = ports.get(asked["port"], asked["port"]), probe.get("timeoutSeconds", 1)
    source = (ADDRESSES[0], 0)
    if asked.get("scheme") == "HTTPS":
        context = ssl._create_unverified_context()  # a kubelet does not verify
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            pod.address, port, timeout=timeout, source_address=source, context=context
        )
    else:
        connection = http.client.HTTPConnection(pod.address, port, timeout=timeout, source_address=source)
    try:
        connection.request("GET", asked["path"], headers={"User-Agent": "kube-probe/1.33", "Accept": "*/*"})
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def until(condition: Callable[[], _T], what: str, within: float = PATIENCE) -> _T:
    """The first true value of *condition*. Raises AssertionError when there is none in that time."""
    end = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within:g} s")
        time.sleep(0.02)
    return value
