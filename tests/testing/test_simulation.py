"""The simulation finds what it is for: each of these mistakes, made in the core, is a violation within a few hours."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tekton.core.component_lifecycle.store import MemoryStore, Mutation, Papers
from tekton.core.events import ChangeFeed
from tekton.core.leases.lease_clock import LeaseClock
from tekton.core.leases.storm_guard import StormGuard
from tekton.core.lifecycle import Change
from tekton.core.recovery import RestartPolicy
from tekton.core.startup.dependency_view import DependencyView
from tekton.testing.simulation import simulate

HOURS = 6.0


def test_the_same_seed_is_the_same_run() -> None:
    first, second = simulate(3, 0.5), simulate(3, 0.5)

    assert (first.counts, first.hours) == (second.counts, second.hours)
    assert first.counts != simulate(4, 0.5).counts


def leases_run_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LeaseClock.__init__

    def wrong(self: LeaseClock, timeout: float, now: float) -> None:
        right(self, timeout * 0.9, now)

    monkeypatch.setattr(LeaseClock, "__init__", wrong)


def leases_run_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LeaseClock.__init__

    def wrong(self: LeaseClock, timeout: float, now: float) -> None:
        right(self, timeout * 1.1, now)

    monkeypatch.setattr(LeaseClock, "__init__", wrong)


def pauses_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: LeaseClock, now: float) -> float:
        elapsed = (round(now * 1e9) - self._anchor) // self._tick
        self.position += max(0, elapsed)
        self._anchor += max(0, elapsed) * self._tick
        return 0.0

    monkeypatch.setattr(LeaseClock, "step", wrong)


def no_storm_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: StormGuard, due: Sequence[Any], leases: int, **_: Any) -> tuple[list[Any], list[Any]]:
        return list(due), []

    def rule(self: StormGuard, due: Sequence[Any], leases: int, **settings: Any) -> Any:
        expired, renewed = wrong(self, due, leases, **settings)
        return type("Ruling", (), {"expired": expired, "renewed": renewed})

    monkeypatch.setattr(StormGuard, "rule", rule)


def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestartPolicy, "delay", lambda *_: 0.0)


def dependencies_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DependencyView, "awaited", lambda *_: [])


def a_commit_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    right, count = MemoryStore.commit, iter(range(10**9))

    def wrong(self: MemoryStore, batch: Sequence[Mutation], papers: Papers) -> None:
        if next(count) % 50 != 49:
            right(self, batch, papers)

    monkeypatch.setattr(MemoryStore, "commit", wrong)


def a_change_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right, count = ChangeFeed.read, iter(range(10**9))

    def wrong(self: ChangeFeed, position: int) -> list[Change]:
        changes = right(self, position)
        return changes[1:] + changes[:1] if len(changes) > 1 and next(count) % 5 == 4 else changes

    monkeypatch.setattr(ChangeFeed, "read", wrong)


MISTAKES: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (leases_run_too_fast, "was failed after"),
    (leases_run_too_slowly, "silent for"),
    (pauses_count, "lives, and was failed"),
    (no_storm_guard, "when nobody was heard"),
    (no_backoff, "s after its failure"),
    (dependencies_do_not_matter, "was not usable"),
    (a_commit_is_lost, "after a restart"),
    (a_change_is_not_told, "subscriber"),
]


# The storm guard stands in for the lease clock, so pauses are tried on few components.
@pytest.mark.parametrize(("mistake", "words"), MISTAKES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_mistake_in_the_core_is_found(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None], words: str
) -> None:
    mistake(monkeypatch)

    report = simulate(1, HOURS, independent=3 if mistake is pauses_count else 14)

    assert any(words in violation for violation in report.violations), str(report)
