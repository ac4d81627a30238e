"""Whose configuration files are used without having been named. Needs root, to give files away."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.config_trust import trusted_users

pytestmark = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")

STRANGER = 54321


@pytest.fixture
def found(folder: Any) -> Any:
    """`found(**environ)`: the port of the configuration that is found from a directory below the project."""
    below = folder.path / "below"
    below.mkdir()

    def port(cwd: Path = below, **environ: str) -> int:
        from tekton.utils.tekton_config import TektonConfig

        return TektonConfig.load(None, None, {"HOME": str(folder.home), **environ}, cwd).port

    return port


def _give_away(path: Path, **options: Any) -> None:
    os.chown(path, STRANGER, STRANGER, **options)


def test_what_a_stranger_has_put_above_us_is_not_used(folder: Any, found: Any, caplog: Any) -> None:
    path = folder.write("tekton.json", '{"tekton": {"port": 1}}')
    before = found()
    _give_away(path)

    with caplog.at_level(logging.WARNING):
        assert (before, found()) == (1, 8010)

    assert f"{path} is not used: it, or its directory, belongs to user {STRANGER}" in caplog.text
    assert "--config" in caplog.text


def test_nor_in_the_working_directory_itself(folder: Any, found: Any) -> None:
    _give_away(folder.write("tekton.json", '{"tekton": {"port": 1}}'))
    assert found(folder.path) == 8010


def test_what_was_named_is_used_whoever_owns_it(folder: Any) -> None:
    _give_away(folder.write("tekton.json", '{"tekton": {"port": 1}}'))

    assert folder.load("tekton.json").port == 1
    assert folder.load(TEKTON_CONFIG_FILE="tekton.json").port == 1


def test_one_file_of_a_stranger_is_enough(folder: Any, found: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"port": 1}}')
    _give_away(folder.write("security.json", "{}"))

    assert found() == 8010


def test_a_directory_of_a_stranger_is_enough(folder: Any, found: Any) -> None:
    folder.write("config/tekton.json", '{"tekton": {"port": 1}}')
    before = found()
    _give_away(folder.path / "config")

    assert (before, found()) == (1, 8010)


def test_a_link_of_a_stranger_leads_nowhere(folder: Any, found: Any, tmp_path: Path) -> None:
    ours = tmp_path / "ours.json"
    ours.write_text('{"tekton": {"port": 1}}')
    link = folder.path / "tekton.json"
    link.symlink_to(ours)
    before = found()
    _give_away(link, follow_symlinks=False)

    assert (before, found()) == (1, 8010)


def test_a_linked_directory_of_a_stranger_leads_nowhere(folder: Any, found: Any, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "tekton.json").write_text('{"tekton": {"port": 1}}')
    link = folder.path / "config"
    link.symlink_to(tmp_path / "ours")
    before = found()
    _give_away(link, follow_symlinks=False)

    assert (before, found()) == (1, 8010)


@pytest.mark.parametrize(
    ("mode", "gid", "port"), [(0o646, 0, 8010), (0o664, STRANGER, 8010), (0o664, 0, 1), (0o644, STRANGER, 1)]
)
def test_what_others_may_write_is_theirs(folder: Any, found: Any, mode: int, gid: int, port: int) -> None:
    path = folder.write("tekton.json", '{"tekton": {"port": 1}}', mode)
    os.chown(path, 0, gid)

    assert found() == port


def test_the_search_goes_on_above_it(folder: Any, found: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"port": 1}}')
    _give_away(folder.write("below/tekton.json", '{"tekton": {"port": 2}}'))

    assert found() == 1


def test_a_personal_file_of_a_stranger_is_not_used(folder: Any, found: Any) -> None:
    (folder.home / ".tekton").mkdir()
    personal = folder.home / ".tekton" / "config.json"
    personal.write_text('{"tekton": {"port": 1}}')
    before = found()
    _give_away(personal)

    assert (before, found()) == (1, 8010)


def test_the_data_directory_is_not_taken_from_it_either(folder: Any) -> None:
    from tekton.utils.data_dir import find_data_dir

    _give_away(folder.write("tekton.json", '{"tekton": {"data_dir": "/elsewhere"}}'))

    assert find_data_dir(None, {"HOME": str(folder.home)}, folder.path) == folder.home / ".tekton" / "data"


def test_who_called_sudo_is_one_of_us(folder: Any, found: Any) -> None:
    _give_away(folder.write("tekton.json", '{"tekton": {"port": 1}}'))

    assert found(SUDO_UID=str(STRANGER)) == 1
    assert found(SUDO_UID="1 2") == 8010
    assert trusted_users({"SUDO_UID": ""}) == {0}
