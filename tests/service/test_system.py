"""The composition of the control plane: how it goes down."""

import pytest

from tekton.service.system import _each


async def test_a_step_of_the_stop_that_fails_keeps_no_other_from_being_taken() -> None:
    taken: list[str] = []

    async def fails() -> None:
        taken.append("fails")
        raise OSError("first")

    def fails_too() -> None:
        taken.append("fails too")
        raise ValueError("second")

    async def last() -> None:
        taken.append("last")

    with pytest.raises(OSError, match="first"):
        await _each(fails, fails_too, last)

    assert taken == ["fails", "fails too", "last"]
