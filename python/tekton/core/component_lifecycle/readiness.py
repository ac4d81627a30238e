"""Readiness conditions: what must hold before a started component counts as ready.

A start function says that a component has been started; whether it can be used is asked by its conditions. The
start-up coordinator waits for all of them, one after the other, within the start timeout. `all_of` and `any_of` make
one condition of several that are waited for at the same time.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tekton.core.calls import Outcome, UserFunction, call, describe, is_async
from tekton.utils.redaction import redact

Report = Callable[[str, str | None], None]
"""Told the name of a condition, and what is in the way (None: nothing, it is met)."""


class NotReadyError(Exception):
    """A condition was not met by its deadline; the text names it and says what the last check found."""


class CheckFailedError(Exception):
    """For checks to raise: what they ask about does not hold, and the text says why."""


class Condition(Protocol):
    """What can be waited for."""

    @property
    def name(self) -> str:
        """What is waited for, for people."""
        ...

    async def wait(self, report: Report = ...) -> None:
        """Return when the condition is met; every finding is reported. Raises NotReadyError."""
        ...


def _ignore(_name: str, _finding: str | None) -> None:
    return


@dataclass(frozen=True, slots=True)
class ReadinessCondition:
    """A named check, asked every *interval* seconds until it returns something true.

    A check that raises counts as not met. `timeout` is the condition's own deadline in seconds (None: that of the
    start), `check_timeout` how long one answer may take (None: as long as it likes): a check may also wait by itself
    and return True when the time has come.
    """

    name: str
    check: UserFunction
    interval: float = 0.25
    timeout: float | None = None
    check_timeout: float | None = None

    async def wait(self, report: Report = _ignore) -> None:
        """Return when the condition is met. Raises NotReadyError at its deadline."""
        check = self.check if is_async(self.check) else _OneAtATime(self.check)
        finding: str | None = "the check has not answered"
        deadline = asyncio.timeout(self.timeout)
        try:
            async with deadline:
                while True:
                    finding = await self._find(check)
                    report(self.name, finding)
                    if finding is None:
                        return
                    await asyncio.sleep(self.interval)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise NotReadyError(f"{self.name} not met after {self.timeout:g} s: {finding}") from None

    async def _find(self, check: UserFunction) -> str | None:
        """None when the condition is met, else what is in the way."""
        deadline = asyncio.timeout(self.check_timeout)
        try:
            async with deadline:
                return finding_of(await call(check), "not yet")
        except TimeoutError:
            if not deadline.expired():
                raise
            return f"no answer within {self.check_timeout:g} s"


class _OneAtATime:
    """A check that runs in a thread, which cannot be cancelled: it is not begun again while it still runs."""

    def __init__(self, check: UserFunction) -> None:
        self._check = check
        self._runs = False

    def __call__(self) -> object:
        if self._runs:
            raise CheckFailedError("an earlier check has not returned")
        self._runs = True
        try:
            return self._check()
        finally:
            self._runs = False


def finding_of(outcome: Outcome, false: str) -> str | None:
    """What a check has found: None when all is well, else what is wrong, in a line; *false* when it does not say."""
    if isinstance(outcome.error, CheckFailedError):
        return redact(str(outcome.error)) or false
    if outcome.error is not None:
        return describe(outcome.error)
    return None if outcome.value else false


def all_of(*conditions: Condition) -> Condition:
    """Met when each of *conditions* is; they are waited for at the same time."""
    return _All(conditions)


def any_of(*conditions: Condition) -> Condition:
    """Met when one of *conditions* is; fails when all of them have failed."""
    return _Any(conditions)


class _Composite:
    """Several conditions that are waited for at the same time."""

    word: str

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        if not conditions:
            raise ValueError("at least one condition is needed")
        self._conditions = conditions

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def name(self) -> str:
        """The names of the conditions."""
        return f" {self.word} ".join(condition.name for condition in self._conditions)

    async def wait(self, report: Report = _ignore) -> None:
        """Return when enough is met. Raises NotReadyError with what the failed conditions say."""
        failures: list[str] = []
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(_attempt(condition, report)) for condition in self._conditions]
            for answer in asyncio.as_completed(waits):
                failure = await answer
                failures += [failure] if failure else []
                if self._is_decided(failure):
                    break
            for wait in waits:
                wait.cancel()
        if self._has_failed(failures):
            raise NotReadyError("; ".join(failures))

    def _is_decided(self, failure: str | None) -> bool:
        raise NotImplementedError

    def _has_failed(self, failures: list[str]) -> bool:
        raise NotImplementedError


class _All(_Composite):
    word = "and"

    def _is_decided(self, failure: str | None) -> bool:
        return failure is not None

    def _has_failed(self, failures: list[str]) -> bool:
        return bool(failures)


class _Any(_Composite):
    word = "or"

    def _is_decided(self, failure: str | None) -> bool:
        return failure is None

    def _has_failed(self, failures: list[str]) -> bool:
        return len(failures) == len(self._conditions)


async def _attempt(condition: Condition, report: Report) -> str | None:
    """None when *condition* was met, else why not."""
    try:
        await condition.wait(report)
    except NotReadyError as error:
        return str(error)
    return None


class Findings:
    """What has been heard of conditions: by name, None for those that are met."""

    def __init__(self) -> None:
        self._by_name: dict[str, str | None] = {}

    def note(self, name: str, finding: str | None) -> None:
        """Hear about a condition (a `Report`)."""
        self._by_name[name] = finding

    def unmet(self) -> Iterator[str]:
        """`port: connection refused` for each that was asked about and is not met."""
        return (f"{name}: {finding}" for name, finding in self._by_name.items() if finding is not None)
