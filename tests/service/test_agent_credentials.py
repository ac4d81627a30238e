"""What lets us in at remote agents: kept for its owner alone, and for no longer than its agent is there."""

import stat
from pathlib import Path

import pytest

from tekton.service.agent_credentials import FILE_NAME, AgentCredentials
from tekton.utils.remote_agents import Credential
from tekton.utils.tekton_errors import StorageError

ONE, TWO = Credential("s3cret"), Credential("other", "X-API-Key", ("rpc.example",))


async def test_they_are_there_after_a_restart(tmp_path: Path) -> None:
    credentials = AgentCredentials(tmp_path / FILE_NAME)
    await credentials.put("one", ONE)
    await credentials.put("two", TWO)
    await credentials.put("gone", ONE)
    await credentials.put("gone", None)

    again = AgentCredentials(tmp_path / FILE_NAME)
    assert [again.get(agent_id) for agent_id in ("one", "two", "gone")] == [ONE, TWO, None]


async def test_only_their_owner_may_read_them(tmp_path: Path) -> None:
    await AgentCredentials(tmp_path / FILE_NAME).put("one", ONE)

    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / FILE_NAME).parent.stat().st_mode) == 0o700


async def test_where_nothing_changes_nothing_is_written(tmp_path: Path) -> None:
    await AgentCredentials(tmp_path / FILE_NAME).put("one", None)

    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"one": {}}', '{"one": {"secret": 7}}', '{"one": 1}', '{"one": {"secret": ""}}']
)
async def test_a_file_that_cannot_be_read_is_told_of_and_left_alone(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILE_NAME
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    credentials = AgentCredentials(path)

    assert credentials.get("one") is None
    assert "asked without credentials" in caplog.text
    with pytest.raises(StorageError):
        await credentials.put("one", ONE)
    assert path.read_text() == content


async def test_one_that_others_may_read_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    await AgentCredentials(path).put("one", ONE)
    path.chmod(0o644)

    assert AgentCredentials(path).get("one") is None
    assert "others may read" in caplog.text


async def test_what_is_not_kept_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    credentials = AgentCredentials(tmp_path / FILE_NAME)

    with pytest.raises(StorageError):
        await credentials.put("one", ONE)

    assert credentials.get("one") is None


async def test_without_a_file_they_are_kept_in_memory() -> None:
    credentials = AgentCredentials()
    await credentials.put("one", ONE)

    assert credentials.get("one") == ONE
