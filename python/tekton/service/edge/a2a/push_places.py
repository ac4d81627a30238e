"""Whose webhook is called next: those that do not answer hold up nobody else.

* There are so many places, and a call takes one for as long as it lasts. Whoever has not answered yet, or not the last
  time, is on trial: all of those together have half of the places, and those that do answer three quarters.
* Of either, one owner has at most a quarter of the places, and so has one host. On trial, an owner has no more than an
  eighth of them at one host.
* Owners take turns, and so do the hosts of each; what waits for one host keeps its order.

What answers is a lane, the webhooks of one owner at one host: those of others there prove nothing, for or against it.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

_T = TypeVar("_T")

Key = tuple[str, str]
"""The ids of a task, and of a push configuration of it."""

_MOST_PROVEN: Final = 4096
"""So many lanes are remembered as those that answer, the ones that did so last."""


class Lane(NamedTuple):
    """Webhooks that fare alike."""

    owner: str
    host: str


class Turn(NamedTuple):
    """*key* is called now, and has a place until `leave`."""

    key: Key
    lane: Lane
    on_trial: bool


class PushPlaces:
    """Gives out *places*."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._tested = _Line(places - places // 4, places // 4, places // 4)
        self._on_trial = _Line(places // 2, places // 4, places // 8)
        self._proven: OrderedDict[Lane, None] = OrderedDict()

    def wait(self, key: Key, lane: Lane, *, failing: bool) -> None:
        """Have *key* wait for its turn. *failing*: it was not taken the last time, whatever else of its lane was."""
        line = self._tested if lane in self._proven and not failing else self._on_trial
        line.wait(key, lane)

    def take(self) -> Turn | None:
        """Whose turn it is, if there is a place. O(owners and hosts that wait and have all that they may have)."""
        if self._tested.running + self._on_trial.running >= self._places:
            return None
        for line in (self._tested, self._on_trial):
            if (found := line.take()) is not None:
                return Turn(*found, line is self._on_trial)
        return None

    def leave(self, turn: Turn) -> None:
        """The call is over: its place is free."""
        (self._on_trial if turn.on_trial else self._tested).leave(turn.lane)

    def note(self, lane: Lane, *, answers: bool) -> None:
        """Somebody in *lane* has taken what he was told, or has not. Then all that waits in it is on trial, too."""
        if answers:
            self._proven[lane] = None
            self._proven.move_to_end(lane)
            if len(self._proven) > _MOST_PROVEN:
                self._proven.popitem(last=False)
        elif lane in self._proven:
            del self._proven[lane]
            for key in self._tested.clear(lane):
                self._on_trial.wait(key, lane)


class _Line:
    """Who waits, by owner and host. *most* calls may be under way at once, *of_one* for one owner, and to one host,
    *of_lane* in one lane.
    """

    def __init__(self, most: int, of_one: int, of_lane: int) -> None:
        self.running = 0
        self._most = most
        self._of_one = of_one
        self._of_lane = of_lane
        self._of_owner: Counter[str] = Counter()
        self._to_host: Counter[str] = Counter()
        self._in_lane: Counter[Lane] = Counter()
        self._waiting: OrderedDict[str, OrderedDict[str, deque[Key]]] = OrderedDict()

    def wait(self, key: Key, lane: Lane) -> None:
        hosts = self._waiting.setdefault(lane.owner, OrderedDict())
        hosts.setdefault(lane.host, deque()).append(key)

    def take(self) -> tuple[Key, Lane] | None:
        """The next that may be called, which then is under way."""
        lane = next(self._free(), None) if self.running < self._most else None
        if lane is None:
            return None
        key = self._waiting[lane.owner][lane.host].popleft()
        self._turn(lane)
        self.running += 1
        self._of_owner[lane.owner] += 1
        self._to_host[lane.host] += 1
        self._in_lane[lane] += 1
        return key, lane

    def leave(self, lane: Lane) -> None:
        self.running -= 1
        _count_down(self._of_owner, lane.owner)
        _count_down(self._to_host, lane.host)
        _count_down(self._in_lane, lane)

    def clear(self, lane: Lane) -> list[Key]:
        """What waits in *lane*, which nothing does any more."""
        hosts = self._waiting.get(lane.owner, OrderedDict())
        keys = hosts.pop(lane.host, ())
        if not hosts:
            self._waiting.pop(lane.owner, None)
        return list(keys)

    def _free(self) -> Iterator[Lane]:
        """Those that wait and may be called, in order."""
        for owner, hosts in self._waiting.items():
            if self._of_owner[owner] < self._of_one:
                yield from (lane for host in hosts if self._is_free(lane := Lane(owner, host)))

    def _is_free(self, lane: Lane) -> bool:
        return self._to_host[lane.host] < self._of_one and self._in_lane[lane] < self._of_lane

    def _turn(self, lane: Lane) -> None:
        """That host, and that owner, are the last from now on, if something of theirs still waits."""
        hosts = self._waiting[lane.owner]
        if hosts[lane.host]:
            hosts.move_to_end(lane.host)
        else:
            del hosts[lane.host]
        if hosts:
            self._waiting.move_to_end(lane.owner)
        else:
            del self._waiting[lane.owner]


def _count_down(counted: Counter[_T], name: _T) -> None:
    counted[name] -= 1
    if not counted[name]:
        del counted[name]
