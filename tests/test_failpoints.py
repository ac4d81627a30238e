"""Named failpoints: how they are spelled, and what they do."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tekton import failpoints
from tekton.failpoints import Action, arm, parse, reach
from tekton.utils.tekton_config import armed_failpoints
from tekton.utils.tekton_errors import ConfigurationError

PACKAGE = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm({})


def test_all_spellings_are_understood() -> None:
    text = "store.before_ack=kill@20; store.after_commit = delay:0.5;store.before_begin=error:EIO;"

    assert parse(text) == {
        "store.before_ack": Action("kill", 0, 20),
        "store.after_commit": Action("delay", 0.5, None),
        "store.before_begin": Action("error", errno.EIO, None),
    }


@pytest.mark.parametrize(
    "text", ["nowhere=kill", "store.before_ack", "store.before_ack=kill@0", "store.before_ack=error:EWHAT"]
)
def test_a_mistake_is_a_mistake_of_the_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TEKTON_FAILPOINTS"):
        armed_failpoints({"TEKTON_FAILPOINTS": text})


def test_nothing_is_armed_without_the_variable() -> None:
    assert armed_failpoints({}) == {}


def test_an_error_comes_each_time() -> None:
    arm(parse("store.before_begin=error:ENOSPC"))

    for _ in range(2):
        with pytest.raises(OSError, match=r"store\.before_begin") as caught:
            reach("store.before_begin")
        assert caught.value.errno == errno.ENOSPC
    reach("store.after_commit")


def test_or_only_the_time_that_is_named() -> None:
    arm(parse("store.before_begin=error:EIO@3"))
    reach("store.before_begin")
    reach("store.before_begin")

    with pytest.raises(OSError, match=r"store\.before_begin"):
        reach("store.before_begin")

    reach("store.before_begin")


def test_every_failpoint_of_the_table_stands_at_one_kind_of_place_and_no_other_is_used() -> None:
    used = {
        part.split('"')[0] for path in PACKAGE.rglob("*.py") for part in path.read_text("utf-8").split('reach("')[1:]
    }

    assert used == set(failpoints.POINTS)


def test_every_failpoint_is_documented_in_the_words_of_the_table() -> None:
    reference = (PACKAGE.parent.parent / "docs" / "reference" / "configuration.md").read_text("utf-8")

    assert [name for name, where in failpoints.POINTS.items() if f"| `{name}` | {where} |" not in reference] == []
