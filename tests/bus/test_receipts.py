"""Receipts that are made when somebody looks at them."""

import pytest

from tekton.bus.bus import Receipt
from tekton.bus.receipts import Receipts


def test_they_are_a_sequence_of_receipts() -> None:
    receipts = Receipts(7, 3)

    assert list(receipts) == [Receipt(7), Receipt(8), Receipt(9)]
    assert (len(receipts), receipts[0], receipts[-1]) == (3, Receipt(7), Receipt(9))
    assert receipts[1:] == [Receipt(8), Receipt(9)]
    with pytest.raises(IndexError):
        receipts[3]
