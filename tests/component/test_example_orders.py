"""examples/orders: what billing answers to whatever it is asked; the whole of it is in tests/e2e."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from tekton import Message, MessageContext, MessageType, ProblemError

BILLING = Path(__file__).resolve().parents[2] / "examples" / "orders" / "billing.py"


def asked(content: Any) -> Message:
    return Message(MessageType.REQUEST, content, MessageContext("shop"))


async def test_billing_knows_what_things_cost() -> None:
    price = runpy.run_path(str(BILLING))["price"]

    assert [await price(asked(item)) for item in ("tea", "cake")] == [3, 4]


@pytest.mark.parametrize("item", ["coffee", None, 7, ["tea"], {"x": 1}], ids=repr)
async def test_billing_has_no_price_for_what_is_no_item(item: Any) -> None:
    price = runpy.run_path(str(BILLING))["price"]

    with pytest.raises(ProblemError, match="there is no") as refused:
        await price(asked(item))

    assert (refused.value.code, refused.value.hint) == ("no_such_item", "ask for tea or cake")
