"""The user that a process runs as, and its limits: real processes under a real guard."""

import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.privileges import (
    CONTROL_PLANE_SECRETS,
    Identity,
    Limits,
    UnknownUserError,
    exposed_directory,
    resolve_user,
)
from tekton.utils.tekton_config import SETTINGS
from tekton.utils.tekton_errors import SpawnError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

NO_LIMITS = Limits()

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

TELL = "echo $(id -u) $(id -g) $(id -G) $HOME"


class TestUsers:
    def test_a_user_is_found_by_name_and_by_number(self) -> None:
        nobody = pwd.getpwnam("nobody")

        assert resolve_user("nobody") == resolve_user(str(nobody.pw_uid))
        assert resolve_user("nobody").environment() == {
            "HOME": nobody.pw_dir,
            "USER": "nobody",
            "LOGNAME": "nobody",
        }

    def test_a_group_replaces_the_users_own(self) -> None:
        assert resolve_user("nobody:0").gid == 0
        assert resolve_user("nobody:daemon").gid == resolve_user("daemon").gid

    @pytest.mark.parametrize(
        ("text", "problem"),
        [("no-such-user", "there is no user no-such-user"), ("root:no-such-group", "there is no group no-such-group")],
    )
    def test_who_does_not_exist_is_named(self, text: str, problem: str) -> None:
        with pytest.raises(UnknownUserError, match=problem):
            resolve_user(text)

    async def test_an_unknown_user_is_an_error_of_the_start(self, guarded: Any) -> None:
        with pytest.raises(SpawnError, match="child: there is no user no-such-user"):
            await guarded.run("/bin/true", user="no-such-user")

    async def test_the_own_user_needs_no_permission(self, guarded: Any) -> None:
        child = await guarded.run("/bin/true", user=str(os.geteuid()))
        assert str(await child.wait()) == "exit 0"

    @as_root
    async def test_a_process_runs_as_its_user_with_its_groups_and_home(self, guarded: Any) -> None:
        nobody = resolve_user("nobody")

        await guarded.shell(TELL, user="nobody", cwd="/")

        assert await guarded.says() == " ".join(map(str, [nobody.uid, nobody.gid, *nobody.groups, nobody.home]))

    @as_root
    async def test_what_it_prints_is_kept_and_its_streams_can_be_opened_again(self, guarded: Any, until: Any) -> None:
        await guarded.shell("echo one; echo two >> /dev/stderr", user="nobody", cwd="/")

        await until(lambda: guarded.log().read_text() == "one\ntwo\n")
        assert guarded.log().stat().st_mode & 0o777 == 0o600

    @as_root
    async def test_it_still_ends_with_the_guard(self, guarded: Any, until: Any, running: Any) -> None:
        child = await guarded.run("/bin/sleep", "600", user="nobody", cwd="/")

        await guarded.client.close()

        await until(lambda: not running(child.pid))

    @as_root
    async def test_the_environment_that_was_asked_for_wins(self, guarded: Any) -> None:
        await guarded.shell("echo $HOME", user="nobody", cwd="/", env={"HOME": "/elsewhere"})
        assert await guarded.says() == "/elsewhere"

    @as_root
    async def test_a_log_that_is_a_link_is_not_given_away(self, guarded: Any, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("mine")
        guarded.log().parent.mkdir(exist_ok=True)
        guarded.log().symlink_to(tmp_path / "precious")

        child = await guarded.shell("echo spoilt", user="nobody", cwd="/")

        assert str(await child.wait()) == "exit 0"
        assert (tmp_path / "precious").read_text() == "mine"
        assert (tmp_path / "precious").stat().st_uid == 0
        assert "symbolic links" in str(child.log_problem)

    @as_root
    async def test_a_log_with_another_name_elsewhere_is_not_given_away(self, guarded: Any, tmp_path: Path) -> None:
        (tmp_path / "precious").touch()
        guarded.log().parent.mkdir(exist_ok=True)
        guarded.log().hardlink_to(tmp_path / "precious")

        child = await guarded.shell("echo said", user="nobody", cwd="/")

        assert str(await child.wait()) == "exit 0"
        assert (tmp_path / "precious").stat().st_uid == 0

    @as_root
    async def test_the_working_directory_is_entered_as_that_user(self, guarded: Any, tmp_path: Path) -> None:
        (tmp_path / "private").mkdir(mode=0o700)
        with pytest.raises(SpawnError, match="private: Permission denied"):
            await guarded.run("/bin/true", user="nobody", cwd=tmp_path / "private")

    @as_root
    def test_who_may_not_become_somebody_else_is_told_so(self) -> None:
        uid = resolve_user("nobody").uid
        told = refused(identity=resolve_user("daemon"))
        assert told == f"cannot run as user daemon: Operation not permitted (Tekton runs as user {uid})"

    @as_root
    async def test_its_environment_is_small_and_clean(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("DB_PASSWORD", "LD_PRELOAD_X", "PYTHONPATH", "http_proxy", "SSH_AUTH_SOCK"):
            monkeypatch.setenv(name, "of-root")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        guard = await GuardClient.launch(tmp_path)
        log = tmp_path / "logs" / "child.log"

        child = await guard.spawn("child", ["/usr/bin/env"], cwd="/", log=log, user="nobody", env={"GIVEN": "1"})
        await child.wait()
        await guard.close()

        told = dict(line.split("=", 1) for line in log.read_text().splitlines())
        assert "of-root" not in told.values()
        assert {"PATH", "LC_ALL", "HOME", "USER", "LOGNAME", "GIVEN"} <= set(told)
        assert set(told) <= {
            *("PATH", "LANG", "LANGUAGE", "TZ", "HOME", "USER", "LOGNAME", "GIVEN"),
            *(name for name in os.environ if name.startswith("LC_")),
            procfs.MARK_VARIABLE,
        }

    @as_root
    async def test_a_log_is_taken_back_from_a_user_that_the_component_no_longer_has(self, guarded: Any) -> None:
        child = await guarded.shell("echo one", user="nobody", cwd="/")
        await child.wait()
        before = guarded.log().stat().st_uid

        child = await guarded.shell("echo two", cwd="/")
        await child.wait()

        status = guarded.log().stat()
        assert (before, status.st_uid, status.st_mode & 0o777) == (resolve_user("nobody").uid, 0, 0o600)
        assert guarded.log().read_text() == "one\ntwo\n"

    @as_root
    async def test_a_log_goes_from_one_user_to_the_next(self, guarded: Any) -> None:
        for user in ("nobody", "daemon"):
            await (await guarded.shell("echo x", user=user, cwd="/")).wait()
            assert guarded.log().stat().st_uid == resolve_user(user).uid


@as_root
class TestDataDirectory:
    """A component must not be able to put its own files in the place of ours."""

    async def test_a_user_who_may_write_above_it_is_refused(self, guarded: Any, tmp_path: Path) -> None:
        os.chown(tmp_path, resolve_user("nobody").uid, -1)

        with pytest.raises(
            SpawnError, match=f"user nobody may write {tmp_path}, in which the data directory of Tekton"
        ):
            await guarded.run("/bin/true", user="nobody", cwd="/")
        await (await guarded.run("/bin/true", user="daemon", cwd="/")).wait()

    @pytest.mark.parametrize(
        ("mode", "owner", "group", "exposed"),
        [
            (0o755, "root", "root", False),
            (0o757, "root", "root", True),
            (0o1777, "root", "root", False),
            (0o775, "root", "nobody", True),
            (0o755, "root", "nobody", False),
            (0o770, "root", "daemon", False),
            (0o705, "nobody", "root", True),
            (0o1700, "nobody", "root", True),
        ],
    )
    def test_whoever_may_write_a_directory_on_the_way_can_replace_it(
        self, tmp_path: Path, mode: int, owner: str, group: str, exposed: bool
    ) -> None:
        nobody = resolve_user("nobody")
        above = tmp_path / "above"
        (above / "data").mkdir(parents=True)
        above.chmod(mode)
        os.chown(above, resolve_user(owner).uid, nobody.gid if group == "nobody" else resolve_user(group).gid)

        found = exposed_directory(str(above / "data" / "logs"), nobody)

        assert found == (str(above) if exposed else None)

    def test_a_link_on_the_way_counts_at_both_ends(self, tmp_path: Path) -> None:
        nobody = resolve_user("nobody")
        (tmp_path / "real" / "data").mkdir(parents=True)
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "data").symlink_to(tmp_path / "real" / "data")
        path = str(tmp_path / "linked" / "data")
        before = exposed_directory(path, nobody)

        os.chown(tmp_path / "linked", nobody.uid, -1)
        through_link = exposed_directory(path, nobody)
        os.chown(tmp_path / "linked", 0, -1)
        os.chown(tmp_path / "real", nobody.uid, -1)

        assert (before, through_link) == (None, str(tmp_path / "linked"))
        assert exposed_directory(path, nobody) == str(tmp_path / "real")

    def test_from_root_nothing_is_kept(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        assert exposed_directory(str(tmp_path), resolve_user("root")) is None


class TestSecrets:
    def test_every_secret_setting_of_the_control_plane_is_known(self) -> None:
        assert {setting.variable for setting in SETTINGS if setting.secret} == CONTROL_PLANE_SECRETS

    async def test_a_component_does_not_inherit_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEKTON_SECURITY_JWT_SECRET", "x" * 32)
        guard = await GuardClient.launch(tmp_path)
        log = tmp_path / "logs" / "child.log"

        for env in ({}, {"TEKTON_SECURITY_JWT_SECRET": "asked for"}):
            script = 'echo "<$TEKTON_SECURITY_JWT_SECRET>"'
            child = await guard.spawn("child", ["/bin/sh", "-c", script], cwd="/", log=log, env=env)
            await child.wait()
        await guard.close()

        assert log.read_text() == "<>\n<asked for>\n"


class TestLimits:
    async def test_a_process_has_the_limits_that_were_set(self, guarded: Any) -> None:
        limits = Limits(open_files=77, processes=5000, memory=1 << 40)
        script = (
            "import resource as r; print(*(r.getrlimit(n) for n in (r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_AS)))"
        )
        await guarded.python(script, limits=limits)
        assert await guarded.says() == f"(77, 77) (5000, 5000) ({1 << 40}, {1 << 40})"

    async def test_who_needs_more_memory_does_not_get_it(self, guarded: Any) -> None:
        child = await guarded.python("bytearray(1 << 30)", limits=Limits(memory=512 << 20))
        assert str(await child.wait()) == "exit 1"
        assert "MemoryError" in guarded.log().read_text()

    @as_root
    def test_a_limit_above_our_own_is_an_error_of_the_start(self) -> None:
        highest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        told = refused(limits=Limits(open_files=highest + 1))
        assert told == "limits.open_files is above what Tekton itself may have"


def refused(*, identity: Identity | None = None, limits: Limits = NO_LIMITS) -> str:
    """Why somebody who is not root cannot start a process so."""
    script = f"""
from tekton.supervisor.privileges import Identity, Limits
from tekton.supervisor.spawn import Command, read_outcome, spawn

command = Command(["true"], {{"PATH": "/bin:/usr/bin"}}, "/", "/nowhere/log", identity={identity!r}, limits={limits!r})
{resolve_user("nobody")!r}.assume()
print(read_outcome(spawn(command).outcome, command).reason)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()
