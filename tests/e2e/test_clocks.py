"""Clocks and processors that misbehave, under a real control plane: nobody who lives is failed by any of it."""

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

QUICK = {"heartbeat_timeout": 2.0, "heartbeat_interval": 0.5}
SLEEP = {"command": ["sleep", "1000"]}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
PERIOD_US = 100_000

FOOL = """
import os, sys
if "tekton.service.main" in sys.orig_argv and "LD_PRELOAD" not in os.environ:
    os.environ |= dict(
        LD_PRELOAD={library!r}, FAKETIME_TIMESTAMP_FILE={file!r}, FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1"
    )
    os.execv(sys.executable, sys.orig_argv)
"""


def log_of(tekton: Any) -> str:
    return str((tekton.data_dir / "logs" / "tekton.log").read_text())


@pytest.fixture
def set_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`set_wall_clock(seconds)`: the wall clock of everything started from now on, so far from the true time."""
    if FAKETIME is None:
        pytest.skip("libfaketime (Debian: faketime) is not installed")
    file = tmp_path / "offset"

    def set_to(offset: float) -> None:
        replacement = file.with_suffix(".new")
        replacement.write_text(f"{offset:+.0f}s\n")
        replacement.rename(file)

    set_to(0)
    # Only the control plane is to be fooled: this library breaks `time.sleep`, which the others use. So it is loaded by
    # the control plane itself, before anything else.
    (tmp_path / "sitecustomize.py").write_text(FOOL.format(library=str(FAKETIME), file=str(file)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return set_to


@pytest.mark.parametrize(("offset", "direction"), [(-3600.0, "back"), (86_400.0, "forward")])
def test_a_wall_clock_that_is_set_moves_no_lease_and_no_timer(
    tekton: Any,
    failed: Any,
    gather: Callable[..., Any],
    eventually: Any,
    set_wall_clock: Callable[[float], None],
    offset: float,
    direction: str,
) -> None:
    again = {"command": ["sh", "-c", "exit 3"], "restart": {"policy": "on-failure", "max": 1, "backoff": [2, 2]}}
    tekton.configure({"worker": SLEEP, "again": again}, **QUICK)
    tekton.up()
    crowd = gather(100)
    before = tekton.get("/api/system")["revision"]

    set_wall_clock(offset)

    beats = crowd.ask("report")["beats"]
    eventually(lambda: crowd.ask("report")["beats"] > beats + 3000, "a timeout passes")
    assert failed(tekton) <= {"again"}
    dead = set(crowd.ask("silence 5"))
    eventually(lambda: failed(tekton) - {"again"} == dead, "those who died are found, and nobody else")
    assert crowd.ask("report")["unknown"] == 0
    assert f"the wall clock was set {direction}" in log_of(tekton)
    eventually(lambda: tekton.get("/api/components/again/why")["restart"]["gave_up"], "the restart came in its time")
    # Order is that of the revisions, whatever the times beside them say.
    for name in dead:
        entries = tekton.get(f"/api/components/{name}/history")["items"]
        assert [entry["revision"] for entry in entries] == sorted(
            (entry["revision"] for entry in entries), reverse=True
        )
        assert entries[0]["revision"] > before
        assert abs(entries[0]["at"] - time.time() - offset) < 60


def test_the_clock_of_a_component_does_not_matter(tekton: Any, failed: Any, eventually: Any) -> None:
    tekton.configure({"worker": SLEEP}, **QUICK)
    tekton.up()
    for name, wrong_by in (("early", -600.0), ("late", 600.0), ("absurd", 1e300)):
        who = {"instance_uuid": str(uuid.uuid4())}
        tekton.request("POST", "/api/components", {"component_id": name, **who})
        tekton.request("POST", f"/api/components/{name}/ready", who)
        beat = {**who, "timestamp": time.time() + wrong_by}
        for _ in range(5):
            status, reply = tekton.request("POST", f"/api/components/{name}/heartbeat", beat)
            assert (status, reply["state"]) == (200, "ready")

    eventually(lambda: failed(tekton) == {"early", "late", "absurd"}, "all of them are found when they are silent")


def test_a_blocked_event_loop_fails_nobody_and_is_logged_with_the_blocker(
    tekton: Any, failed: Any, gather: Callable[..., Any], eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tekton.configure({"worker": SLEEP}, **QUICK)
    environment = tekton.environment()
    monkeypatch.setattr(
        tekton, "environment", lambda: {**environment, "TEKTON_FAILPOINTS": "start.before_spawn=delay:3@2"}
    )
    tekton.up()
    tekton.until("worker")
    crowd = gather(200)

    assert tekton.request("POST", "/api/components/worker/restart?wait=1", {})[0] == 200

    beats = crowd.ask("report")["beats"]
    eventually(lambda: crowd.ask("report")["beats"] > beats + 2000, "a timeout passes")
    assert (failed(tekton), crowd.ask("report")["unknown"]) == (set(), 0)
    dead = set(crowd.ask("silence 5"))
    eventually(lambda: failed(tekton) == dead, "those who died are found, and nobody else")
    log = log_of(tekton)
    assert "suspecting ourselves" not in log
    assert max(lengths(r"this process did not run for (\d+\.\d) s", log), default=0) >= 2.8
    assert re.search(r"the event loop is blocked; it is in _act \(failpoints\.py:\d+\), called by reach", log)
    # Counted from the moment at which the watchdog has asked, and it has to get a processor, too.
    assert max(lengths(r"the event loop was blocked for (\d+\.\d+) s", log), default=0) >= 2


def lengths(pattern: str, log: str) -> list[float]:
    """The numbers that are told in a log."""
    return [float(number) for number in re.findall(pattern, log)]


@pytest.mark.parametrize("offsets", [("2000000000", "2100000000"), ("-1", "300000000")])
def test_monotonic_clocks_may_begin_anywhere(
    tekton: Any,
    failed: Any,
    gather: Callable[..., Any],
    eventually: Any,
    monkeypatch: pytest.MonkeyPatch,
    offsets: tuple[str, str],
) -> None:
    """In a time namespace of its own: up for decades, most of them suspended."""
    monotonic, boottime = offsets
    inside = ["unshare", "--fork", "--time", "--monotonic", monotonic, "--boottime", boottime]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("a time namespace needs root and util-linux")
    tekton.configure({"worker": SLEEP}, **QUICK)
    command = tekton.command
    monkeypatch.setattr(tekton, "command", lambda *arguments: [*inside, *command(*arguments)])
    tekton.up()
    crowd = gather(100)

    dead = set(crowd.ask("silence 5"))

    eventually(lambda: failed(tekton) == dead, "those who died are found, and nobody else")
    assert "suspended" not in log_of(tekton)


@pytest.fixture
def throttle() -> Iterator[Callable[[int, float], None]]:
    """`throttle(pid, share)`: give a process that share of one processor, through a control group."""
    groups: list[Path] = []

    def slow_down(pid: int, share: float) -> None:
        quota = int(PERIOD_US * share)
        name = f"tekton-{uuid.uuid4().hex[:8]}"
        for root, limits in (
            (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": f"{PERIOD_US}", "cpu.cfs_quota_us": f"{quota}"}),
            (Path("/sys/fs/cgroup"), {"cpu.max": f"{quota} {PERIOD_US}"}),
        ):
            group = root / name
            with suppress(OSError):
                group.mkdir()
                groups.append(group)
                for limit, value in limits.items():
                    (group / limit).write_text(value)
                (group / "cgroup.procs").write_text(str(pid))
                return
        pytest.skip("control groups cannot be written here")

    yield slow_down
    for group in groups:
        with suppress(OSError):
            group.rmdir()


def test_a_control_plane_that_gets_a_tenth_of_a_processor_fails_nobody(
    tekton: Any, failed: Any, gather: Callable[..., Any], eventually: Any, throttle: Callable[[int, float], None]
) -> None:
    again = {**SLEEP, "restart": {"policy": "always", "backoff": [0.01, 0.02]}}
    tekton.configure({"worker": again}, heartbeat_timeout=2.0, heartbeat_interval=0.5)
    tekton.up()
    crowd = gather(100)

    throttle(tekton.control_pid, 0.1)

    beats = crowd.ask("report")["beats"]
    eventually(lambda: crowd.ask("report")["beats"] > beats + 800, "several timeouts pass", 40)
    dead = set(crowd.ask("silence 5"))
    eventually(lambda: failed(tekton) == dead, "those who died are found, and nobody else", 40)
    assert crowd.ask("report")["unknown"] == 0
    assert tekton.component("worker")["restarts"] == 0
