"""The credentials of the components that Tekton runs."""

import os
import stat
from pathlib import Path

import pytest

from tekton.service import component_credentials
from tekton.service.component_credentials import RENEW_AFTER, ComponentCredentials
from tekton.testing.clock import ManualClock


class Place:
    """A data directory, and what stands in the files of components."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.clock = ManualClock()
        (data_dir / "run").mkdir(parents=True)

    def open(self, run_id: str = "run") -> ComponentCredentials:
        return ComponentCredentials(self.data_dir, run_id, self.clock.time)

    def text(self, credentials: ComponentCredentials, component_id: str) -> str:
        path = credentials.provide(component_id, None)
        assert path is not None
        return path.read_text()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(component_credentials, "_RUNTIME_FILES", tmp_path / "runtime")
    (tmp_path / "runtime").mkdir()
    return Place(tmp_path / "data")


def whose(credentials: ComponentCredentials, text: str) -> str | None:
    proven = credentials.identify(text)
    return None if proven is None else proven.component_id


def test_each_component_has_one_that_proves_who_it_is(place: Place) -> None:
    credentials = place.open()

    web, db = place.text(credentials, "web"), place.text(credentials, "db")

    assert web != db
    assert (whose(credentials, web), whose(credentials, db)) == ("web", "db")
    assert [whose(credentials, text) for text in ("", web[:-1], web + "x", web.upper())] == [None] * 4


def test_the_file_is_for_its_owner_alone(place: Place) -> None:
    path = place.open().provide("web", None)

    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() not in (place.data_dir / "run" / "credentials.json").read_text()


def test_a_start_soon_after_another_changes_nothing(place: Place) -> None:
    credentials = place.open()
    before = place.text(credentials, "web")

    place.clock.advance(RENEW_AFTER - 1)

    assert place.text(credentials, "web") == before
    assert credentials.path("web") == credentials.provide("web", None)
    assert credentials.path("db") is None


def test_an_old_one_is_succeeded_and_ends_as_much_later(place: Place) -> None:
    credentials = place.open()
    old = place.text(credentials, "web")
    epoch = credentials.epoch
    place.clock.advance(RENEW_AFTER)

    credentials.renew()

    new = place.text(credentials, "web")
    assert new != old
    assert (whose(credentials, old), whose(credentials, new)) == ("web", "web")
    assert credentials.epoch > epoch
    proven = credentials.identify(old)
    assert proven is not None
    assert proven.ends_at == place.clock.time() + RENEW_AFTER
    place.clock.advance(RENEW_AFTER)
    assert (whose(credentials, old), whose(credentials, new)) == (None, "web")


def test_at_most_two_of_a_component_live(place: Place) -> None:
    credentials = place.open()
    seen = []
    for _ in range(6):
        seen.append(place.text(credentials, "web"))
        place.clock.advance(RENEW_AFTER)
        credentials.renew()
        seen.append(place.text(credentials, "web"))
        assert sum(whose(credentials, text) == "web" for text in set(seen)) == 2


def test_a_clock_that_goes_back_makes_a_new_one(place: Place) -> None:
    credentials = place.open()
    before = place.text(credentials, "web")

    place.clock.set_wall(place.clock.time() - 10.0)

    assert place.text(credentials, "web") != before


def test_who_replaces_a_crashed_control_plane_knows_them(place: Place) -> None:
    before = place.open()
    old = place.text(before, "web")
    place.clock.advance(RENEW_AFTER)
    before.renew()
    new = place.text(before, "web")

    after = place.open()

    assert (whose(after, old), whose(after, new)) == ("web", "web")
    assert place.text(after, "web") == new


def test_those_of_another_run_are_not_known(place: Place) -> None:
    before = place.text(place.open(), "web")

    after = place.open("another run")

    assert whose(after, before) is None
    assert place.text(after, "web") != before


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"run_id": "run", "issued": {"x": 1}}'])
def test_an_index_that_cannot_be_read_is_none(place: Place, content: bytes) -> None:
    before = place.text(place.open(), "web")
    (place.data_dir / "run" / "credentials.json").write_bytes(content)

    after = place.open()

    assert whose(after, before) is None
    assert whose(after, place.text(after, "web")) == "web"


def test_nothing_is_left_of_them_in_the_end(place: Place) -> None:
    credentials = place.open()
    text = place.text(credentials, "web")

    credentials.discard()

    assert whose(credentials, text) is None
    assert os.listdir(place.data_dir / "run") == []


@pytest.mark.parametrize("obstacle", ["credentials/web.new", "credentials.json.new"])
def test_a_file_that_cannot_be_written_is_tried_again(
    place: Place, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    credentials = place.open()
    text = place.text(credentials, "web")
    place.clock.advance(RENEW_AFTER)
    (place.data_dir / "run" / obstacle).mkdir()

    credentials.renew()

    assert "web was not renewed" in caplog.text
    place.clock.advance(RENEW_AFTER)
    assert whose(credentials, text) == "web", "it is what the component still has"
    (place.data_dir / "run" / obstacle).rmdir()
    credentials.renew()
    assert place.text(credentials, "web") != text


def test_without_a_file_a_component_has_none_and_that_is_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    (place.data_dir / "run" / "credentials").write_text("in the way")

    assert place.open().provide("web", None) is None
    assert place.open().provide("web", "no-such-user") is None
    assert caplog.text.count("web gets no credential of its own") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
class TestAnotherUser:
    def test_the_file_of_another_user_is_readable_by_that_user_alone(self, place: Place) -> None:
        path = place.open().provide("web", "nobody")

        assert path is not None
        status = path.stat()
        assert (status.st_uid != 0, stat.S_IMODE(status.st_mode)) == (True, 0o400)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711
        assert not path.is_relative_to(place.data_dir)

    def test_where_there_is_no_place_it_lies_in_the_data_directory(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(component_credentials, "_RUNTIME_FILES", tmp_path / "nowhere")

        path = place.open().provide("web", "nobody")

        assert path == place.data_dir / "credentials" / "web"

    def test_a_directory_of_somebody_else_is_not_used(self, place: Place) -> None:
        credentials = place.open()
        theirs = credentials._of_others[0]
        theirs.mkdir()
        os.chown(theirs, 65534, 65534)

        assert credentials.provide("web", "nobody") == place.data_dir / "credentials" / "web"
