"""The probes of supervised components, with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from registering import record_changes

from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.supervisor import procfs
from tekton.utils.tekton_config import ProbeSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

READY, FAILED = ComponentState.READY, ComponentState.FAILED
FOREVER = ["/bin/sleep", "600"]
SOON = {"interval": 0.05, "failures": 2, "timeout": 10}
HASTY = {**SOON, "timeout": 0.3}

MakePlane = Callable[..., Awaitable[Any]]


def server(port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]


def exists(sign: Path) -> dict[str, Any]:
    """A probe that succeeds as long as there is such a file."""
    return {"exec": ["test", "-e", str(sign)]}


def asking(heard: Path, sign: Path) -> dict[str, Any]:
    """The same, and each attempt leaves a line in *heard*."""
    return {"exec": ["/bin/sh", "-c", f"echo asked >> {heard}; test -e {sign}"]}


def the(role: str, health: Sequence[Health]) -> Health:
    return next(one for one in health if one.role == role)


def record_of(made: Any, component_id: str = "web") -> ComponentRecord:
    record = made.registry.find(component_id)
    assert record is not None
    return record


class TestReadiness:
    async def test_a_component_that_does_not_answer_gets_no_traffic_until_it_does(
        self, plane: MakePlane, free_port: int
    ) -> None:
        made = await plane(
            web={"command": server(free_port), "port": free_port, "ready": {"http": "/", "timeout": 0.2}}
        )
        assert await made.start_all() == {"web": (True, None)}
        pid, changes = made.pid("web"), record_changes(made.registry)

        os.kill(pid, signal.SIGSTOP)
        await made.coordinator.check_health("web")
        await made.coordinator.check_health("web")
        assert record_of(made).serving
        await made.coordinator.check_health("web")
        withdrawn = record_of(made)
        os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(10):
            while not record_of(made).serving:
                await made.coordinator.check_health("web")

        assert (withdrawn.state, withdrawn.serving) == (READY, False)
        assert [(change.kind, change.reason) for change in changes] == [
            ("serving", f"ready: GET http://127.0.0.1:{free_port}/: no answer within 0.2 s"),
            ("serving", "healthy again"),
        ]
        assert made.pid("web") == pid

    async def test_what_the_last_attempt_found_is_shown_before_it_has_consequences(
        self, plane: MakePlane, tmp_path: Path
    ) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(web={"command": FOREVER, "ready": {**exists(sign), "failures": 5}})
        await made.start_all()

        sign.unlink()
        health = the("ready", await made.coordinator.check_health("web"))

        assert (health.healthy, health.finding, health.failing, health.failures) == (True, "test ended with 1", 1, 5)
        assert health.latency is not None
        assert health.latency > 0
        assert record_of(made).serving
        (told,) = made.coordinator.explain("web").health
        assert (told.role, told.finding, told.failing, told.latency) == ("ready", health.finding, 1, health.latency)

    async def test_the_name_of_what_was_asked_is_told_once(
        self, plane: MakePlane, tmp_path: Path, free_port: int
    ) -> None:
        (tmp_path / "page").write_text("well")
        command = [*server(free_port), "--directory", str(tmp_path)]
        made = await plane(web={"command": command, "port": free_port, "ready": {"http": "/page"}})
        await made.start_all()

        (tmp_path / "page").unlink()
        await made.coordinator.check_health("web")

        note = made.supervisor.view("web").note
        assert note == f"GET http://127.0.0.1:{free_port}/page answered 404"

    async def test_a_failing_probe_never_restarts(self, plane: MakePlane, tmp_path: Path) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(web={"command": FOREVER, "ready": {**exists(sign), **SOON}}, recover=True)
        await made.start_all()
        pid = made.pid("web")

        sign.unlink()
        async with asyncio.timeout(10):
            await made.registry.wait_until("web", lambda record: not record.serving)
        for _ in range(5):
            await made.coordinator.check_health("web")

        assert (record_of(made).state, made.pid("web")) == (READY, pid)
        assert made.supervisor.view("web").restarts == 0

    async def test_what_cannot_be_asked_again_is_not(self, plane: MakePlane) -> None:
        made = await plane(
            plain={"command": FOREVER},
            log={"command": ["/bin/sh", "-c", "echo up; exec sleep 600"], "ready": {"log": "up"}},
        )
        await made.start_all()

        assert await made.coordinator.check_health("plain") == []
        assert await made.coordinator.check_health("log") == []

    async def test_so_many_successes_in_a_row_are_waited_for(self, plane: MakePlane, tmp_path: Path) -> None:
        heard = tmp_path / "heard"
        made = await plane(web={"command": FOREVER, "ready": {**asking(heard, tmp_path), "successes": 3}})

        await made.start_all()

        assert heard.read_text() == "asked\n" * 3


class TestLiveness:
    async def test_a_process_that_hangs_is_killed_and_restarted(
        self, plane: MakePlane, free_port: int, until: Any, running: Any
    ) -> None:
        web = {
            "command": server(free_port),
            "port": free_port,
            "ready": {"tcp": True},
            "liveness": {"http": "/", **HASTY},
            "restart": {"backoff": [0.01, 0.01]},
            "stop_timeout": 0.5,
        }
        made = await plane(web=web, recover=True)
        await made.start_all()
        pid, changes = made.pid("web"), record_changes(made.registry)

        os.kill(pid, signal.SIGSTOP)
        await until(lambda: record_of(made).state is READY and made.supervisor.view("web").pid not in (None, pid))

        failed = next(change for change in changes if change.state is FAILED)
        assert failed.reason == f"liveness: GET http://127.0.0.1:{free_port}/: no answer within 0.3 s"
        assert not running(pid)
        assert made.supervisor.view("web").restarts == 1

    async def test_a_process_that_hangs_is_killed_also_where_nothing_is_restarted(
        self, plane: MakePlane, tmp_path: Path, until: Any, running: Any
    ) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(
            web={"command": FOREVER, "liveness": {**exists(sign), **SOON}, "restart": {"policy": "no"}}, recover=True
        )
        await made.start_all()
        pid = made.pid("web")

        sign.unlink()

        record = await made.reaches("web", FAILED)
        assert record.reason == f"liveness: success of test -e {sign}: test ended with 1"
        await until(lambda: not running(pid))
        assert record_of(made).state is FAILED

    async def test_another_probe_holds_without_a_new_process(self, plane: MakePlane, tmp_path: Path) -> None:
        web = {"command": FOREVER, "liveness": {**exists(tmp_path), "interval": 100}, "restart": {"policy": "no"}}
        made = await plane(web=web)
        await made.start_all()
        pid, spec = made.pid("web"), made.supervisor.specs["web"]
        assert [one.finding for one in await made.coordinator.check_health("web")] == [None]

        stricter = ProbeSpec(exec=["/bin/false"], failures=1)
        await made.supervisor.replace(msgspec.structs.replace(spec, liveness=stricter))
        assert made.pid("web") == pid
        await made.coordinator.check_health("web")

        assert record_of(made).reason == "liveness: success of /bin/false: /bin/false ended with 1"

    async def test_one_that_never_answers_is_given_up_after_so_many_restarts(
        self, plane: MakePlane, until: Any, running: Any
    ) -> None:
        never = {"exec": ["/bin/false"], "interval": 0.05, "failures": 1}
        made = await plane(
            web={"command": FOREVER, "liveness": never, "restart": {"max": 2, "backoff": [0.01, 0.01]}}, recover=True
        )
        pids: list[int] = []
        made.guard.add_listener(lambda child: pids.append(child.pid))
        await made.start_all()

        await until(lambda: made.recovery.status("web").gave_up and made.supervisor.view("web").pid is None)

        assert record_of(made).state is FAILED
        assert len(set(pids)) == 3
        assert not any(map(running, pids))

    async def test_one_bad_answer_in_between_is_no_reason(self, plane: MakePlane, tmp_path: Path) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(web={"command": FOREVER, "liveness": {**exists(sign), "failures": 2}})
        await made.start_all()

        for _ in range(3):
            sign.unlink()
            # Not even for one that nobody has seen work.
            await made.coordinator.check_health("web", strict=True)
            sign.touch()
            await made.coordinator.check_health("web")

        assert record_of(made).state is READY

    async def test_a_probe_that_hangs_counts_as_a_failure_and_leaves_nothing(
        self, plane: MakePlane, tmp_path: Path, until: Any
    ) -> None:
        pids = tmp_path / "pids"
        hanging = {"exec": ["/bin/sh", "-c", f"echo $$$$ >> {pids}; sleep 600; :"], **HASTY, "timeout": 1}
        made = await plane(web={"command": FOREVER, "liveness": hanging, "restart": {"policy": "no"}})
        await made.start_all()

        record = await made.reaches("web", FAILED)

        assert record.reason is not None
        assert record.reason.endswith("no answer within 1 s")
        started = [int(line) for line in pids.read_text().split()]
        assert len(started) >= 2
        await until(lambda: not any(procfs.read(pid) for pid in started))

    async def test_a_stopped_process_still_takes_connections(
        self, plane: MakePlane, free_port: int, until: Any
    ) -> None:
        """The kernel does it for the process: a probe of the kind `tcp` does not see that it hangs."""
        web = {"command": server(free_port), "port": free_port, "ready": {"http": "/"}, "liveness": {"tcp": True}}
        made = await plane(web=web)
        await made.start_all()

        os.kill(made.pid("web"), signal.SIGSTOP)
        await until(lambda: (process := procfs.read(made.pid("web"))) and process.state == "T")
        health = the("liveness", await made.coordinator.check_health("web"))

        assert (health.healthy, health.finding) == (True, None)

    async def test_nobody_is_asked_whether_it_lives_before_it_is_ready(
        self, plane: MakePlane, tmp_path: Path, until: Any
    ) -> None:
        sign, heard = tmp_path / "sign", tmp_path / "heard"
        web = {
            "command": FOREVER,
            "ready": {**exists(sign), "interval": 0.05},
            "liveness": {**asking(heard, sign), **SOON},
        }
        made = await plane(web=web)

        async with asyncio.TaskGroup() as group:
            group.create_task(made.start_all())
            await until(lambda: (view := made.supervisor.view("web")) and view.note)
            assert not heard.exists()
            sign.touch()
        await until(heard.exists)


class TestStartup:
    async def test_attempts_are_quick_at_first_and_leave_nothing_in_the_log(
        self, plane: MakePlane, tmp_path: Path, until: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        begun, heard = tmp_path / "begun", tmp_path / "heard"
        heard.touch()
        made = await plane(web={"command": FOREVER, "startup": {**asking(heard, begun), "interval": 60}})

        async with asyncio.TaskGroup() as group:
            group.create_task(made.start_all())
            # With the whole interval between them, that would take hours.
            await until(lambda: len(heard.read_text().splitlines()) >= 3)
            with caplog.at_level("DEBUG", "tekton"):
                caplog.clear()
                await until(lambda: len(heard.read_text().splitlines()) >= 5)
                assert caplog.records == []
            begun.touch()

    async def test_it_holds_the_other_probes_back_until_it_succeeds_once(
        self, plane: MakePlane, tmp_path: Path, until: Any
    ) -> None:
        begun, up, asked = tmp_path / "begun", tmp_path / "up", tmp_path / "asked"
        web = {"command": FOREVER, "startup": {**exists(begun), "interval": 0.05}, "ready": asking(asked, up)}
        made = await plane(web=web)

        async with asyncio.TaskGroup() as group:
            starting = group.create_task(made.start_all())
            await until(lambda: (view := made.supervisor.view("web")) and view.note)
            note = made.supervisor.view("web").note
            assert not asked.exists()
            begun.touch()
            await until(asked.exists)
            begun.unlink()
            up.touch()

        assert starting.result() == {"web": (True, None)}
        assert note == f"waiting for success of test -e {begun}: test ended with 1"
        assert [one.role for one in await made.coordinator.check_health("web")] == ["ready"]

    async def test_one_that_never_succeeds_fails_the_start(self, plane: MakePlane, tmp_path: Path, until: Any) -> None:
        never = tmp_path / "never"
        web = {"command": FOREVER, "start_timeout": 2, "startup": exists(never), "ready": exists(tmp_path)}
        made = await plane(web=web)

        ((success, error),) = (await made.start_all()).values()

        assert not success
        assert f"waiting for success of test -e {never}" in error
        assert record_of(made).state is FAILED
        await until(lambda: made.supervisor.view("web").pid is None)

    async def test_without_a_readiness_probe_it_is_what_makes_ready(self, plane: MakePlane, tmp_path: Path) -> None:
        made = await plane(web={"command": FOREVER, "startup": exists(tmp_path)})

        assert await made.start_all() == {"web": (True, None)}
        assert await made.coordinator.check_health("web") == []
