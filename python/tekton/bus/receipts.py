"""The receipts of what was published together."""

from collections.abc import Iterator, Sequence
from typing import overload

from tekton.bus.bus import Receipt


class Receipts(Sequence[Receipt]):
    """Those of messages without a stream, at places that follow one another. Made when somebody looks at them."""

    __slots__ = ("_places",)

    def __init__(self, first: int, count: int) -> None:
        self._places = range(first, first + count)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Receipt]:
        return map(Receipt, self._places)

    @overload
    def __getitem__(self, index: int) -> Receipt: ...

    @overload
    def __getitem__(self, index: slice) -> list[Receipt]: ...

    def __getitem__(self, index: int | slice) -> Receipt | list[Receipt]:
        places = self._places[index]
        return Receipt(places) if isinstance(places, int) else list(map(Receipt, places))
