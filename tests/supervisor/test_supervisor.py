"""The supervisor with everything real around it: processes, guard, registry, coordinator, recovery."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.core.lifecycle import ComponentState
from tekton.supervisor import probes
from tekton.utils.tekton_errors import ComponentError, StartTimeoutError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

NO_RESTART = {"policy": "no"}
FOREVER = ["/bin/sleep", "600"]


def shell(script: str) -> list[str]:
    # The configuration has a meaning of its own for the dollar sign.
    script = script.replace("$", "$$")
    return ["/bin/sh", "-c", script]


MakePlane = Callable[..., Awaitable[Any]]


class TestStart:
    async def test_a_process_that_runs_is_ready(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER})

        assert await made.start_all() == {"web": (True, None)}

        record = made.registry.find("web")
        assert record is not None
        assert (record.state, record.supervised) == (ComponentState.READY, True)
        os.kill(made.pid("web"), 0)

    async def test_the_record_has_what_the_configuration_says(self, plane: MakePlane, free_port: int) -> None:
        made = await plane(
            web={
                "command": FOREVER,
                "port": free_port,
                "capabilities": ["serve"],
                "version": "1.2.3",
                "type": "gateway",
                "name": "The web",
                "metadata": {"team": "a"},
            }
        )
        await made.start_all()
        record = made.registry.find("web")
        assert record is not None
        assert record.capabilities == ("serve",)
        assert (record.version, record.component_type, record.component_name) == ("1.2.3", "gateway", "The web")
        assert record.endpoint == f"http://127.0.0.1:{free_port}"
        assert record.metadata == {"team": "a"}

    async def test_a_component_is_told_who_it_is_and_where_we_are(
        self, plane: MakePlane, tmp_path: Path, free_port: int, until: Any
    ) -> None:
        names = "PORT TEKTON_URL TEKTON_SOCKET TEKTON_CREDENTIAL_FILE TEKTON_COMPONENT_ID TEKTON_INSTANCE_UUID COLOUR"
        script = f"for name in {names}; do eval echo \\$$name; done; exec sleep 600"
        made = await plane(web={"command": shell(script), "port": free_port, "env": {"COLOUR": "blue"}})
        await made.start_all()
        await until(lambda: made.log("web").endswith("blue\n"))
        record = made.registry.find("web")
        assert record is not None
        assert made.log("web").splitlines() == [
            str(free_port),
            "http://127.0.0.1:1",
            str(tmp_path / "socket"),
            str(tmp_path / "credential-of-web"),
            "web",
            record.instance_uuid,
            "blue",
        ]

    async def test_dependents_start_when_their_dependency_is_ready(self, plane: MakePlane) -> None:
        made = await plane(
            api={"command": shell("test -e ../up && exec sleep 600"), "cwd": "data", "dependencies": ["db"]},
            db={"command": shell("sleep 0.2; touch up; echo listening; exec sleep 600"), "ready": {"log": "listening"}},
        )
        assert await made.start_all() == {"api": (True, None), "db": (True, None)}

    async def test_heartbeat_readiness_is_what_the_component_says(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER, "ready": {"heartbeat": True}})
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(made.start_all())
            record = await made.reaches("web", ComponentState.STARTING)
            await made.registry.make_ready("web", record.instance_uuid)
        assert starting.result() == {"web": (True, None)}

    async def test_starting_what_runs_changes_nothing(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER})
        await made.start_all()
        pid = made.pid("web")
        await made.start_all()
        assert made.pid("web") == pid


class TestFailedStarts:
    async def test_a_missing_program_is_named(self, plane: MakePlane) -> None:
        made = await plane(web={"command": ["no-such-program"], "restart": NO_RESTART})
        with pytest.raises(ComponentError, match="command not found: no-such-program"):
            await made.coordinator.start_component("web")
        assert made.state("web") is ComponentState.FAILED

    async def test_an_exit_before_readiness_is_a_failure_with_its_last_words(self, plane: MakePlane) -> None:
        script = "echo starting; echo 'no such table' >&2; exit 3"
        made = await plane(web={"command": shell(script), "ready": {"log": "never"}, "restart": NO_RESTART})

        with pytest.raises(ComponentError, match="exit 3 before it was ready: no such table"):
            await made.coordinator.start_component("web")

        record = made.registry.find("web")
        assert record is not None
        assert record.reason == "exit 3 before it was ready: no such table"
        assert made.supervisor.evidence("web") == ["starting", "no such table"]

    async def test_last_words_that_look_like_a_secret_are_not_told_to_everybody(self, plane: MakePlane) -> None:
        script = shell("echo api_token: abc; exit 3")
        made = await plane(web={"command": script, "ready": {"log": "never"}, "restart": NO_RESTART})
        with pytest.raises(ComponentError, match=r"exit 3 before it was ready: api_token: \[redacted\]"):
            await made.coordinator.start_component("web")

    async def test_exit_0_before_readiness_is_a_failure_too(self, plane: MakePlane) -> None:
        made = await plane(web={"command": ["/bin/true"], "ready": {"log": "never"}, "restart": NO_RESTART})
        with pytest.raises(ComponentError, match="exit 0 before it was ready"):
            await made.coordinator.start_component("web")

    async def test_a_process_without_probe_that_ends_at_once_never_was_ready(
        self, plane: MakePlane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # However long it takes to come that far.
        monkeypatch.setattr(probes, "SETTLE_SECONDS", 20.0)
        made = await plane(web={"command": shell("echo no module >&2; exit 1"), "restart": NO_RESTART})
        with pytest.raises(ComponentError, match="exit 1 before it was ready: no module"):
            await made.coordinator.start_component("web")

    async def test_secrets_do_not_appear_in_reasons(self, plane: MakePlane) -> None:
        made = await plane(
            web={
                "command": shell("echo wrong: $API_TOKEN; exit 1"),
                "env": {"API_TOKEN": "hunter2-hunter2"},
                "ready": {"log": "never"},
                "restart": NO_RESTART,
            }
        )
        with pytest.raises(ComponentError) as caught:
            await made.coordinator.start_component("web")
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in " ".join(made.supervisor.evidence("web"))

    async def test_a_start_that_takes_too_long_is_ended_and_says_what_was_missing(
        self, plane: MakePlane, free_port: int, running: Any, until: Any
    ) -> None:
        entry = {"command": FOREVER, "port": free_port, "ready": {"tcp": True}, "start_timeout": 2}
        made = await plane(web={**entry, "restart": NO_RESTART})
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(outcome(made.coordinator.start_component("web")))
            await made.reaches("web", ComponentState.STARTING)
            await until(lambda: (view := made.supervisor.view("web")) and view.note)
            pid, view = made.pid("web"), made.supervisor.view("web")

        error = starting.result()
        assert isinstance(error, StartTimeoutError)
        assert f"waiting for a connection to 127.0.0.1:{free_port}" in str(error)
        assert view is not None
        assert (
            view.note
            == f"waiting for a connection to 127.0.0.1:{free_port}: connection refused on 127.0.0.1:{free_port}"
        )
        await until(lambda: not running(pid))

    async def test_what_a_check_finds_later_is_not_waited_for(self, plane: MakePlane, tmp_path: Path) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(web={"command": FOREVER, "ready": {"exec": ["test", "-e", str(sign)]}})
        await made.start_all()

        sign.unlink()
        await made.coordinator.check_health("web")

        view = made.supervisor.view("web")
        assert view is not None
        assert view.note is not None
        assert view.note.startswith(f"success of test -e {sign}: ")

    async def test_a_port_in_use_is_reported_with_its_owner_who_is_left_alone(
        self, plane: MakePlane, free_port: int
    ) -> None:
        with socket.create_server(("127.0.0.1", free_port)):
            made = await plane(web={"command": FOREVER, "port": free_port, "restart": NO_RESTART})
            with pytest.raises(ComponentError) as caught:
                await made.coordinator.start_component("web")
        assert f"port {free_port} is in use by process {os.getpid()} (" in str(caught.value)
        view = made.supervisor.view("web")
        assert view is not None
        assert view.pid is None


class TestEnds:
    @pytest.mark.parametrize(
        ("how", "reason"),
        [("kill -KILL $$", "killed by signal 9 (SIGKILL)"), ("exit 4", "exit 4")],
    )
    async def test_a_process_that_ends_has_failed(
        self, plane: MakePlane, tmp_path: Path, how: str, reason: str
    ) -> None:
        os.mkfifo(tmp_path / "fifo")
        made = await plane(web={"command": shell(f"read line < fifo; {how}"), "restart": NO_RESTART})
        await made.start_all()

        (tmp_path / "fifo").write_text("go\n")
        record = await made.reaches("web", ComponentState.FAILED)

        assert record.reason == reason

    async def test_a_failed_component_is_restarted_as_a_new_instance(self, plane: MakePlane) -> None:
        restart = {"policy": "on-failure", "backoff": [0.01, 0.01]}
        made = await plane(recover=True, web={"command": FOREVER, "restart": restart})
        await made.start_all()
        first = made.registry.find("web")
        assert first is not None

        os.kill(made.pid("web"), signal.SIGKILL)
        async with asyncio.timeout(10):
            second = await made.registry.wait_until(
                "web", lambda r: r is not None and r.usable and r.instance_uuid != first.instance_uuid
            )

        assert second is not None
        assert second.generation == 2
        view = made.supervisor.view("web")
        assert view is not None
        assert view.restarts == 1

    async def test_a_one_shot_that_ends_well_is_completed_and_lets_others_start(self, plane: MakePlane) -> None:
        made = await plane(
            migrate={"command": shell("sleep 0.1; echo done")},
            api={"command": FOREVER, "dependencies": [{"component": "migrate", "condition": "completed"}]},
        )
        results = await made.start_all()
        assert results == {"migrate": (True, None), "api": (True, None)}
        record = made.registry.find("migrate")
        assert record is not None
        assert (record.state, record.reason) == (ComponentState.STOPPED, "completed")

    async def test_a_one_shot_that_ends_before_we_have_looked_is_completed_too(self, plane: MakePlane) -> None:
        made = await plane(
            migrate={"command": ["/bin/true"]},
            api={"command": FOREVER, "dependencies": [{"component": "migrate", "condition": "completed"}]},
        )
        assert await made.start_all() == {"migrate": (True, None), "api": (True, None)}

    async def test_a_one_shot_that_ends_well_before_its_probe_has_succeeded_is_completed_too(
        self, plane: MakePlane
    ) -> None:
        made = await plane(
            migrate={"command": shell("sleep 0.1"), "ready": {"exec": ["/bin/false"]}},
            api={"command": FOREVER, "dependencies": [{"component": "migrate", "condition": "completed"}]},
        )

        assert await made.start_all() == {"migrate": (True, None), "api": (True, None)}

        record = made.registry.find("migrate")
        assert (record.state, record.reason) == (ComponentState.STOPPED, "completed")

    async def test_those_that_wait_for_a_one_shot_wait_through_its_restarts(
        self, plane: MakePlane, tmp_path: Path
    ) -> None:
        tries = tmp_path / "tries"
        migrate = f"echo try >> {tries}; test $(wc -l < {tries}) -ge 3"
        made = await plane(
            migrate={"command": shell(migrate), "restart": {"backoff": [0.01, 0.01]}},
            api={"command": FOREVER, "dependencies": [{"component": "migrate", "condition": "completed"}]},
            recover=True,
        )

        await made.start_all()
        await made.reaches("api", ComponentState.READY)

        assert tries.read_text() == "try\n" * 3
        assert made.registry.find("migrate").reason == "completed"

    async def test_a_one_shot_that_fails_stops_those_that_wait_for_it(self, plane: MakePlane) -> None:
        made = await plane(
            migrate={"command": shell("sleep 0.5; exit 9"), "restart": NO_RESTART},
            api={"command": FOREVER, "dependencies": [{"component": "migrate", "condition": "completed"}]},
        )
        results = await made.start_all()
        assert results["api"][0] is False
        assert made.state("migrate") is ComponentState.FAILED

    async def test_exit_0_of_a_running_component_is_an_end_not_a_failure(
        self, plane: MakePlane, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "fifo")
        made = await plane(recover=True, web={"command": shell("read line < fifo; exit 0")})
        await made.start_all()
        (tmp_path / "fifo").write_text("go\n")
        record = await made.reaches("web", ComponentState.STOPPED)
        assert record.reason == "exit 0"

    async def test_with_policy_always_it_is_started_again(self, plane: MakePlane, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        restart = {"policy": "always", "backoff": [0.01, 0.01]}
        made = await plane(recover=True, web={"command": shell("read line < fifo; exit 0"), "restart": restart})
        await made.start_all()
        (tmp_path / "fifo").write_text("go\n")
        async with asyncio.timeout(10):
            await made.registry.wait_until("web", lambda r: r is not None and r.usable and r.generation == 2)


class TestStop:
    async def test_a_stop_is_no_failure(self, plane: MakePlane, running: Any) -> None:
        made = await plane(recover=True, web={"command": FOREVER})
        await made.start_all()
        pid = made.pid("web")

        await made.coordinator.stop_component("web")

        record = made.registry.find("web")
        assert record is not None
        assert (record.state, record.reason) == (ComponentState.STOPPED, "stopped")
        assert not running(pid)
        view = made.supervisor.view("web")
        assert view is not None
        assert view.pid is None

    async def test_what_ignores_sigterm_is_killed_after_its_stop_timeout(self, plane: MakePlane, running: Any) -> None:
        script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
        made = await plane(web={"command": shell(script), "ready": {"log": "up"}, "stop_timeout": 0.3})
        await made.start_all()
        pid = made.pid("web")
        await made.coordinator.stop_component("web")
        assert not running(pid)
        assert made.state("web") is ComponentState.STOPPED

    async def test_a_stop_during_the_start_ends_the_process(self, plane: MakePlane, running: Any, until: Any) -> None:
        made = await plane(web={"command": FOREVER, "ready": {"log": "never"}})
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(outcome(made.coordinator.start_component("web")))
            await until(lambda: (view := made.supervisor.view("web")) and view.note)
            pid = made.pid("web")
            await made.coordinator.stop_component("web")
        assert isinstance(starting.result(), ComponentError)
        assert not running(pid)
        assert made.state("web") is ComponentState.STOPPED

    async def test_a_restart_is_a_new_process(self, plane: MakePlane, running: Any) -> None:
        made = await plane(web={"command": FOREVER})
        await made.start_all()
        pid = made.pid("web")
        await made.coordinator.restart_component("web")
        assert made.pid("web") != pid
        assert not running(pid)
        view = made.supervisor.view("web")
        assert view is not None
        # Somebody asked for it.
        assert view.restarts == 0

    async def test_everything_stops_dependents_first(self, plane: MakePlane) -> None:
        made = await plane(a={"command": FOREVER}, b={"command": FOREVER, "dependencies": ["a"]})
        await made.start_all()
        ended: list[str] = []
        made.guard.add_listener(lambda child: ended.append(child.name))

        results = await made.supervisor.stop()

        assert [tuple(results[name]) for name in ("a", "b")] == [(True, None)] * 2
        assert ended == ["b", "a"]


class TestCounts:
    async def test_replicas_are_wanted_until_they_are_stopped(self, plane: MakePlane, until: Any) -> None:
        made = await plane(
            web={"command": FOREVER, "replicas": 2, "restart": NO_RESTART},
            big={"command": FOREVER, "constraints": {"memory_free_min": 1e9}},
        )
        count = made.supervisor.replica_count
        assert (count("web"), count("nobody")) == ((0, 0, 0), (0, 0, 0))

        async with asyncio.TaskGroup() as group:
            starting = group.create_task(made.start_all())
            await until(lambda: count("web") == (2, 2, 0) and count("big") == (1, 0, 1))
            await made.coordinator.stop_component("big")
            await starting
        os.kill(made.pid("web"), signal.SIGKILL)
        await until(lambda: count("web") == (2, 1, 0))
        await made.supervisor.replicas.stop("web")

        assert (count("web"), count("big")) == ((0, 0, 0), (0, 0, 0))

    async def test_a_log_that_cannot_be_opened_is_counted_while_its_process_runs(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER}, fine={"command": FOREVER})
        (made.config.data_dir / "logs" / "web.log").mkdir(parents=True)

        await made.start_all()
        assert made.supervisor.unkept_logs == 1
        await made.coordinator.stop_component("web")

        assert made.supervisor.unkept_logs == 0

    async def test_the_ends_of_processes_are_counted_by_how_they_came(self, plane: MakePlane) -> None:
        made = await plane(
            web={"command": FOREVER, "restart": NO_RESTART},
            bad={"command": shell("exit 3"), "restart": NO_RESTART},
        )
        exits = made.supervisor.exits
        await made.start_all()
        await made.reaches("bad", ComponentState.FAILED)
        os.kill(made.pid("web"), signal.SIGKILL)
        await made.reaches("web", ComponentState.FAILED)
        await made.coordinator.start_component("web")
        await made.coordinator.stop_component("web")

        assert exits == {"web": {"signal": 1, "stopped": 1}, "bad": {"error": 1}}
        await made.supervisor.remove("web")
        assert exits == {"bad": {"error": 1}}


async def outcome(call: Awaitable[Any]) -> BaseException | None:
    try:
        await call
    except Exception as error:
        return error
    return None
