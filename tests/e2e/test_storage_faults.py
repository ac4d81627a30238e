"""Failing, full, slow and read-only disks under a real control plane.

strace makes single system calls of the process fail; a small file system of its own makes the disk full.
"""

import errno
import http.client
import itertools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")

SLEEP = {"command": ["sleep", "1000"]}
TRIES = 3


def registration(component_id: str, instance: str, size: int = 0) -> dict[str, Any]:
    return {"component_id": component_id, "instance_uuid": instance, "metadata": {"text": "x" * size}}


class Faulty:
    """A guard and a control plane; the first control plane runs in an environment in which something goes wrong."""

    def __init__(self, tekton: Any) -> None:
        self.tekton = tekton
        self.trace = tekton.directory / "trace"
        self._armed = tekton.directory / "armed"

    def up(
        self, around: Sequence[str] = (), *, always: bool = False, once_broken: bool = False, **environment: str
    ) -> None:
        """Start them. *around* is what stands before the command of the first control plane.

        Or of every one, or of every one from when there is a file `broken` in the directory.
        """
        script = self.tekton.directory / "control-plane"
        plain = f'{sys.executable} -m tekton.service.main --data-dir "{self.tekton.data_dir}"'
        faulty = " ".join(around)
        once = "true" if always else f'rm "{self._armed}" 2>/dev/null'
        once = f'[ -e "{self.tekton.directory}/broken" ]' if once_broken else once
        script.write_text(f"#!/bin/sh\nif {once}; then exec {faulty} {plain}; fi\nexec {plain}\n")
        script.chmod(0o755)
        self._armed.touch()
        command = [sys.executable, "-m", "tekton.supervisor.guard", "--data-dir", str(self.tekton.data_dir)]
        self.tekton.process = subprocess.Popen(
            [*command, "--failed-starts", "3", "--", str(script)],
            cwd=self.tekton.directory,
            env={**self.tekton.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Stop them in order."""
        assert self.tekton.stop() == 0

    def inject(self, fault: str, calls: str = "fdatasync") -> list[str]:
        """What makes *calls* go wrong as *fault* says, and notes when that was and when the process ended."""
        assert STRACE is not None
        options = ["-f", "-qq", "--seccomp-bpf", "-ttt", "-o", str(self.trace)]
        return [STRACE, *options, "-e", f"trace={calls},exit_group", "-e", f"inject={calls}:{fault}"]

    def times(self) -> tuple[float, float]:
        """When the first system call was made to fail, and when the process ended."""
        lines = self.trace.read_text().splitlines()
        return tuple(
            float(next(line for line in lines if word in line).split()[1]) for word in ("INJECTED", "exit_group")
        )  # type: ignore[return-value]

    @property
    def log(self) -> str:
        path = self.tekton.data_dir / "logs" / "tekton.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def faulty(tekton: Any) -> Faulty:
    tekton.configure({})
    return Faulty(tekton)


@contextmanager
def open_stream(port: int) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/events/components")
    yield connection.getresponse()
    connection.close()


def rest_of(stream: http.client.HTTPResponse) -> bytes:
    """What comes until *stream* ends, or is cut."""
    try:
        return stream.read()
    except http.client.IncompleteRead as cut:
        return cut.partial
    except ConnectionError:
        return b""


@needs_strace
@pytest.mark.parametrize("call", [24, 48])
def test_one_failed_sync_ends_the_process_at_once_and_nothing_acknowledged_is_lost(
    start_tekton: Any, tmp_path: Path, writers: Any, eventually: Any, call: int
) -> None:
    def has_last_words(number: int) -> bool:
        (directory := tmp_path / f"{number}").mkdir()
        tekton = start_tekton(directory)
        tekton.configure({})
        try:
            return fail_one_sync(Faulty(tekton), type(writers)(tekton), eventually, call)
        finally:
            tekton.kill()

    # It has some hundredths of a second for them, in which it may be given no processor.
    assert any(map(has_last_words, range(TRIES)))


def fail_one_sync(faulty: Faulty, writers: Any, eventually: Any, call: int) -> bool:
    """Let a sync fail under *writers*; whether those who wrote and those who watched were told."""
    tekton = faulty.tekton
    faulty.up(faulty.inject(f"error=EIO:when={call}"))
    eventually(tekton.answers, "the control plane is up")
    with open_stream(tekton.port) as stream, writers:
        events = rest_of(stream)
        eventually(lambda: "it is started again" in faulty.log, "the process has ended")
        eventually(tekton.answers, "it is back")
        goal = len(writers.acknowledged) + 20
        eventually(lambda: len(writers.acknowledged) >= goal, "writers make progress")

    assert "ended: exit 74;" in faulty.log
    assert tekton.lost(writers.acknowledged) == []
    unknown = [answer for answer in writers.refused if answer["code"] == "storage_unknown"]
    assert all(answer["status"] == 503 and answer["outcome"] == "unknown" for answer in writers.refused)
    failed, ended = faulty.times()
    print(f"from the failed sync to the end: {1000 * (ended - failed):.1f} ms; {len(unknown)} callers told")
    return bool(unknown) and b"event: bye" in events


@needs_strace
def test_a_failed_sync_of_the_database_itself_ends_the_process_too(
    faulty: Faulty, writers: Any, eventually: Any
) -> None:
    """SQLite would overlook it, sync again, and then overwrite the log that still has what the disk has not."""
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    faulty.stop()
    database = str(tekton.data_dir / "tekton.db")
    faulty.up([*faulty.inject("error=EIO:when=1"), "-P", database])
    eventually(tekton.answers, "the control plane is up again")
    with writers:
        eventually(lambda: "exit 74;" in faulty.log, "the process has ended")
        eventually(tekton.answers, "it is back")

    assert "moving the log into the database failed" in faulty.log
    assert tekton.lost(writers.acknowledged) == []


@needs_strace
def test_a_disk_that_never_syncs_keeps_the_control_plane_from_starting(faulty: Faulty) -> None:
    faulty.up(faulty.inject("error=EIO:when=1+"), always=True)

    output, _ = faulty.tekton.process.communicate(timeout=30)

    assert faulty.tekton.process.returncode == 73
    assert f"CRITICAL tekton.service: {faulty.tekton.data_dir}/tekton.db: disk I/O error" in faulty.log
    assert "Traceback" not in faulty.log + output


@needs_strace
def test_restarts_on_a_disk_that_has_failed_for_good_are_paced_and_end(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up(faulty.inject("error=EIO:when=1+"), once_broken=True)
    eventually(tekton.answers, "the control plane is up")
    (tekton.directory / "broken").touch()
    os.kill(tekton.control_pid, signal.SIGKILL)

    tekton.process.communicate(timeout=30)

    assert tekton.process.returncode == 73
    assert re.findall(r"started again in ([0-9.]+) s", faulty.log) == ["0.1", "0.2", "0.4"]
    assert "ended: exit 73, in start 3 in a row: giving up" in faulty.log


def heartbeat(tekton: Any, component_id: str, instance: str) -> tuple[int, Any]:
    return tekton.request("POST", f"/api/components/{component_id}/heartbeat", {"instance_uuid": instance})


def register(tekton: Any, component_id: str, size: int = 0) -> tuple[int, Any]:
    return tekton.request("POST", "/api/components", registration(component_id, str(uuid.uuid4()), size))


def refuse_writes(tekton: Any, reason: str) -> dict[str, Any]:
    """Write until it is refused for want of room; everything that does not need the disk must go on."""
    known = registration("known", str(uuid.uuid4()))
    assert tekton.request("POST", "/api/components", known)[0] == 201
    assert tekton.request("POST", "/api/components/known/ready", {"instance_uuid": known["instance_uuid"]})[0] == 200
    acknowledged = []
    for number in range(2000):
        status, answer = register(tekton, f"big-{number}", 30_000)
        if status != 201:
            break
        acknowledged.append(f"big-{number}")
    assert (status, answer["code"]) == (503, "storage_full"), answer
    assert reason in answer["detail"]
    assert tekton.request("GET", "/api/ready") == (503, {"ready": False, "reason": "storage: full", "impaired": []})
    assert tekton.request("GET", f"/api/components/big-{number}")[0] == 404
    assert heartbeat(tekton, "known", known["instance_uuid"])[1]["known"]
    assert tekton.get("/api/health") == {"status": "ok"}
    assert {*acknowledged, "known"} <= set(tekton.everything())
    return {"acknowledged": acknowledged, "refused": f"big-{number}"}


def check_recovery(tekton: Any, eventually: Any, pid: int, outcome: dict[str, Any]) -> None:
    """There is room again: it goes on by itself, and all that was acknowledged survives a kill."""
    eventually(tekton.answers, "it is ready again, by itself")
    assert register(tekton, outcome["refused"], 30_000)[0] == 201
    assert tekton.control_pid == pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != pid, "it is back")
    assert {*outcome["acknowledged"], outcome["refused"], "known"} <= set(tekton.everything())


def test_a_full_disk_refuses_changes_until_there_is_room_and_nothing_else(
    faulty: Faulty, eventually: Any, memory_disk: Any
) -> None:
    tekton = faulty.tekton
    with memory_disk(tekton.data_dir, "size=4m"):
        faulty.up()
        eventually(tekton.answers, "the control plane is up")
        pid = tekton.control_pid

        outcome = refuse_writes(tekton, "the disk is full")
        subprocess.run(["mount", "-o", "remount,size=64m", str(tekton.data_dir)], check=True)

        check_recovery(tekton, eventually, pid, outcome)
        assert f"{tekton.data_dir} is on tmpfs: it is gone when the machine stops" in faulty.log
        faulty.stop()


def test_a_file_size_limit_is_like_a_full_disk(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    pid = tekton.control_pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2_000_000, hard))

    outcome = refuse_writes(tekton, "File too large")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    check_recovery(tekton, eventually, pid, outcome)


@needs_strace
def test_a_disk_that_is_read_only_for_a_while_is_like_a_full_one(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    faulty.stop()
    faulty.up([*faulty.inject("error=EROFS:when=100..101", "pwrite64"), "-P", str(tekton.data_dir / "tekton.db-wal")])
    eventually(tekton.answers, "the control plane is up again")
    pid = tekton.control_pid

    outcome = refuse_writes(tekton, os.strerror(errno.EROFS))

    check_recovery(tekton, eventually, pid, outcome)


@needs_strace
def test_on_a_slow_disk_only_those_wait_who_need_it(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    one = registration("known", str(uuid.uuid4()))
    tekton.request("POST", "/api/components", one)
    faulty.stop()
    faulty.up(faulty.inject("delay_enter=500000"))
    eventually(tekton.answers, "the control plane is up again")
    numbers = itertools.count()

    # Half a second may pass in which nobody has let us ask: then it is for the next write.
    eventually(lambda: rounds_during_a_write(tekton, one, f"slow-{next(numbers)}") > 1, "others do not wait for it")


def rounds_during_a_write(tekton: Any, known: dict[str, Any], written: str) -> int:
    """How often a heartbeat and three reads were answered while *written* was being registered."""
    answered: list[int] = []
    writer = threading.Thread(target=lambda: answered.append(register(tekton, written)[0]))
    writer.start()
    slowest, count = 0.0, 0
    while not answered:
        began = time.monotonic()
        assert heartbeat(tekton, "known", known["instance_uuid"])[0] in (200, 429)
        assert tekton.get("/api/components/known")["component_id"] == "known"
        assert tekton.get("/api/health") == {"status": "ok"}
        assert tekton.get("/api/ready")["ready"]
        slowest = max(slowest, time.monotonic() - began)
        count += not answered
    writer.join()
    assert answered == [201]
    print(f"{count} rounds of a heartbeat and three reads during one write; the slowest took {1000 * slowest:.0f} ms")
    return count


SHELL = shutil.which("sqlite3")


@contextmanager
def shell(database: Path, *commands: str) -> Iterator[subprocess.Popen[str]]:
    """A person's shell on the database, in the middle of a transaction."""
    assert SHELL is not None
    with subprocess.Popen([SHELL, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join((*commands, "SELECT 'here';")) + "\n")
        process.stdin.flush()
        while "here" not in process.stdout.readline():
            pass
        yield process
        process.kill()


@pytest.mark.skipif(SHELL is None, reason="no sqlite3 shell")
def test_a_shell_that_holds_the_right_to_write_is_waited_for_and_then_named(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")

    with shell(tekton.data_dir / "tekton.db", "BEGIN IMMEDIATE;") as person:
        status, answer = register(tekton, "late")
        assert (status, answer["code"]) == (503, "storage")
        assert f"sqlite3 (process {person.pid}) is writing to it; nothing was changed" in answer["detail"]
        assert tekton.request("GET", "/api/components/late")[0] == 404

    assert register(tekton, "late")[0] == 201
    assert f"sqlite3 (process {person.pid}) has held the right to write for 2 s" in faulty.log


@pytest.mark.skipif(SHELL is None, reason="no sqlite3 shell")
def test_a_shell_that_reads_disturbs_nobody(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    with shell(tekton.data_dir / "tekton.db", "BEGIN;", "SELECT count(*) FROM changes;"):
        assert {register(tekton, f"big-{number}", 30_000)[0] for number in range(200)} == {201}

    assert len(tekton.everything()) == 200


def test_a_database_deleted_while_it_is_used_is_not_served_on(faulty: Faulty, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    assert register(tekton, "one")[0] == 201
    (tekton.data_dir / "tekton.db").unlink()

    status, answer = register(tekton, "two")

    assert (status, answer["code"], answer["outcome"]) == (503, "storage_unknown", "unknown")
    tekton.process.communicate(timeout=30)
    assert tekton.process.returncode == 78
    assert "acknowledged changes are missing" in faulty.log


def test_a_log_deleted_while_it_is_used_costs_nothing(faulty: Faulty, writers: Any, eventually: Any) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")
    pid = tekton.control_pid
    with writers:
        eventually(lambda: len(writers.acknowledged) > 20, "writers make progress")
        (tekton.data_dir / "tekton.db-wal").unlink()
        eventually(lambda: tekton.answers() and tekton.control_pid != pid, "it is started again")

    assert "its log was moved or deleted" in faulty.log
    assert tekton.lost(writers.acknowledged) == []


def test_a_second_control_plane_on_the_directory_is_refused_and_the_first_undisturbed(
    faulty: Faulty, eventually: Any
) -> None:
    tekton = faulty.tekton
    faulty.up()
    eventually(tekton.answers, "the control plane is up")

    command = [sys.executable, "-m", "tekton.service.main", "--data-dir", str(tekton.data_dir), "--port", "0"]
    second = subprocess.run(command, env=tekton.environment(), capture_output=True, text=True, timeout=30, check=False)

    assert second.returncode == 75
    assert f"{tekton.data_dir} is in use by process {tekton.control_pid}" in second.stderr
    assert register(tekton, "still")[0] == 201


def flip(name: str, at: float) -> Callable[[Path], None]:
    def damage(data_dir: Path) -> None:
        content = bytearray((data_dir / name).read_bytes())
        content[int(len(content) * at)] ^= 4
        (data_dir / name).write_bytes(content)

    return damage


def cut(name: str, size: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda data_dir: os.truncate(data_dir / name, size((data_dir / name).stat().st_size))


def remove(name: str) -> Callable[[Path], None]:
    return lambda data_dir: (data_dir / name).unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit of the database flipped": flip("tekton.db", 0.5),
    "a bit of the log flipped": flip("tekton.db-wal", 0.5),
    "the log deleted": remove("tekton.db-wal"),
    "the log cut off": cut("tekton.db-wal", lambda size: size // 2),
    "the database deleted": remove("tekton.db"),
    "the database emptied": cut("tekton.db", lambda _: 0),
    "half of the database": cut("tekton.db", lambda size: size // 8192 * 4096),
    "all but a page of the database": cut("tekton.db", lambda size: size - 4096),
    "the witness damaged": cut("witness", lambda _: 3),
}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any, eventually: Any) -> Path:
    """The data directory of a control plane that was killed with commits in its database and in its log."""
    tekton = start_tekton(tmp_path_factory.mktemp("crashed"))
    faulty = Faulty(tekton)
    tekton.configure({})
    try:
        faulty.up()
        eventually(tekton.answers, "the control plane is up")
        assert {register(tekton, f"old-{number}", 10_000)[0] for number in range(30)} == {201}
        faulty.stop()
        faulty.up()
        eventually(tekton.answers, "the control plane is up again")
        assert register(tekton, "new-0", 1_000)[0] == 201
        # As soon as there is nothing to write; what comes after that is too little to be moved once more.
        moved = (tekton.data_dir / "tekton.db").read_bytes
        eventually(lambda: b"new-0" in moved(), "what the first run has left in the log is moved into the database")
        assert {register(tekton, f"new-{number}", 1_000)[0] for number in range(1, 30)} == {201}
    finally:
        tekton.kill()
    return tekton.data_dir


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_keeps_the_control_plane_from_starting(
    faulty: Faulty, crashed: Path, damage: str, tmp_path: Path
) -> None:
    data_dir = faulty.tekton.data_dir
    shutil.copytree(crashed, data_dir, ignore=shutil.ignore_patterns("run", "logs", "*-shm"))
    DAMAGES[damage](data_dir)

    faulty.up()
    output, _ = faulty.tekton.process.communicate(timeout=30)

    assert faulty.tekton.process.returncode == 78, faulty.log
    assert f"CRITICAL tekton.service: {data_dir}/" in faulty.log
    assert "Traceback" not in faulty.log + output


def test_undamaged_it_starts(faulty: Faulty, crashed: Path, eventually: Any) -> None:
    shutil.copytree(crashed, faulty.tekton.data_dir, ignore=shutil.ignore_patterns("run", "logs", "*-shm"))

    faulty.up()

    eventually(faulty.tekton.answers, "the control plane is up")
    assert len(faulty.tekton.everything()) == 60


@pytest.mark.parametrize("program", ["tekton.supervisor.guard", "tekton.service.main"])
def test_a_data_directory_that_cannot_be_made_is_named(tekton: Any, program: str) -> None:
    (tekton.directory / "file").touch()
    data_dir = tekton.directory / "file" / "data"
    command = [sys.executable, "-m", program, "--data-dir", str(data_dir)]

    outcome = subprocess.run(
        [*command, *(["--", "true"] if "guard" in program else ["--port", "0"])],
        env=tekton.environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert outcome.returncode == 73
    assert str(tekton.directory / "file") in outcome.stderr
    assert "Not a directory" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_read_only_data_directory_is_named(tekton: Any, memory_disk: Any) -> None:
    with memory_disk(tekton.data_dir, "ro"):
        command = [sys.executable, "-m", "tekton.service.main", "--data-dir", str(tekton.data_dir), "--port", "0"]
        outcome = subprocess.run(
            command, env=tekton.environment(), capture_output=True, text=True, timeout=30, check=False
        )

    assert outcome.returncode == 73
    assert f"{tekton.data_dir}/LOCK: Read-only file system" in outcome.stderr
    assert "Traceback" not in outcome.stderr
