"""down, against a control plane elsewhere, and one that does not stop; with a guard it is in test_up.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def elsewhere(double: Any) -> Iterator[tuple[Any, str]]:
    """A control plane on a TCP port, and its URL."""
    plane = double.ControlPlane()
    double.serve(plane, ("127.0.0.1", 0))
    yield plane, f"http://127.0.0.1:{plane.server.server_address[1]}"
    plane.leave()


def test_the_replica_is_named_that_stops_even_when_nobody_can_be_asked_any_more(
    tekton: Any, elsewhere: tuple[Any, str], double: Any
) -> None:
    plane, url = elsewhere
    uuids = [f"{number}{double.INSTANCE[1:]}1" for number in (1, 2)]
    plane.components = [double.record("worker", instance_uuid=uuid, max_instances=2) for uuid in uuids]
    views = [{"instance_uuid": uuid, "replica": replica} for replica, uuid in enumerate(uuids)]
    plane.answers["GET /api/components/worker/instances"] = (200, {"items": views})

    def stop() -> None:
        plane.answers["GET /api/components/worker/instances"] = double.problem(503, "unavailable", "stopping")
        for revision, uuid in enumerate(reversed(uuids), 1):
            fields = {"instance_uuid": uuid, "max_instances": 2}
            plane.publish(double.change(revision, "worker", "ready", "stopping", after=fields))
        plane.leave(drain=True)

    plane.on_stop = stop

    result = tekton("down", "--url", url)

    assert result.exit_code == 0
    *told, last = result.stderr.splitlines()
    assert [line.split()[1:] for line in told] == [
        ["worker.1", "ready", "→", "stopping"],
        ["worker", "ready", "→", "stopping"],
    ]
    assert last.startswith("stopped in ")


def test_what_stops_is_told_even_when_the_control_plane_ends_before_it_has_answered(
    tekton: Any, elsewhere: tuple[Any, str], double: Any
) -> None:
    plane, url = elsewhere

    def stop() -> None:
        plane.publish(double.change(1, "worker", "ready", "stopping"))
        plane.leave(drain=True)
        plane.mute = True

    plane.on_stop = stop

    result = tekton("down", "--url", url)

    assert result.exit_code == 0
    told, last = result.stderr.splitlines()
    assert told.split()[1:] == ["worker", "ready", "→", "stopping"]
    assert last.startswith("stopped in ")


NOBODY = 1 << 30
"""A number that no process has."""


def test_it_gives_up_after_its_timeout(
    tekton: Any, plane: Any, double: Any, data_dir: Path, held: Any, hour: Any
) -> None:
    def go_on() -> None:
        hour.passes()
        # Whoever reads looks at the clock again.
        plane.publish(double.change(1, "worker", "ready", "stopping"))

    plane.on_stop = go_on
    (data_dir / "run" / "guard.json").write_text(f'{{"pid": {NOBODY}}}')
    with held(data_dir / "run" / "guard.lock"):
        result = tekton("down", "--timeout", "90s")

    assert result.exit_code == 4
    assert "gave up after 90 s (waiting for everything to stop)" in result.stderr
    assert f"help: kill {NOBODY}; a second time, it ends at once what is left" in result.stderr
