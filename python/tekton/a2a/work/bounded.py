"""A dict that takes no more than so many bytes: what came first goes first."""

from collections import OrderedDict
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Bounded(Generic[_K, _V]):
    """Values by key, of *most_bytes* together. May be read from a second thread while another one changes it."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._values: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: _K) -> _V | None:
        """The value of *key*, if it is still there."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: _K, value: _V, size: int) -> None:
        """Have *value*, which takes *size* bytes, as the newest, unless it is too large; the oldest go for it."""
        self.take(key)
        if size > self._most:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most:
            self._bytes -= self._values.popitem(last=False)[1][1]

    def take(self, key: _K) -> _V | None:
        """Remove and return the value of *key*, if it is there."""
        found = self._values.pop(key, None)
        if found is None:
            return None
        self._bytes -= found[1]
        return found[0]
