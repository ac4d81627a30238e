"""Tests of tekton.core.component_lifecycle.healthcheck: checks, verdicts, and what follows from them."""

import asyncio
import random
import threading
from typing import Any

import pytest
from leaps import Leaps

from tekton.core.calls import CANCEL_GRACE
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import CheckCourse, HealthCheck
from tekton.core.component_lifecycle.readiness import CheckFailedError
from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator, StartResult
from tekton.testing import current_clock, virtual_time

READY, DEGRADED, FAILED, STOPPED = (
    ComponentState.READY,
    ComponentState.DEGRADED,
    ComponentState.FAILED,
    ComponentState.STOPPED,
)
UP = StartResult(True, None)


async def succeed() -> None:
    return


class Patient:
    """A component with a check that finds what it is told to find, and counts."""

    def __init__(self, registry: ComponentRegistry, **settings: Any) -> None:
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock())
        self.finding: str | None = None
        self.asked: list[float] = []
        self.check = HealthCheck("pulse", self.ask, **settings)

    async def ask(self) -> bool:
        self.asked.append(current_clock().monotonic())
        if self.finding is not None:
            raise CheckFailedError(self.finding)
        return True

    async def start(self, *more: HealthCheck) -> None:
        config = ComponentConfig(start_func=succeed, stop_func=succeed, health=[self.check, *more])
        assert await self.coordinator.start_components({"hermes": config}) == {"hermes": UP}

    @property
    def state(self) -> tuple[ComponentState, str | None]:
        record = self.registry.find("hermes")
        assert record is not None
        return record.state, record.reason

    @property
    def serves(self) -> bool:
        record = self.registry.find("hermes")
        assert record is not None
        return record.serving

    @property
    def instance(self) -> str:
        record = self.registry.find("hermes")
        assert record is not None
        return record.instance_uuid

    async def observe(self, state: ComponentState, reason: str) -> None:
        record = self.registry.find("hermes")
        assert record is not None
        assert self.registry.observe("hermes", record.instance_uuid, state, reason)


# The verdict.


@pytest.mark.parametrize(
    ("failures", "successes", "answers", "verdicts"),
    [
        (1, 1, "+-+-", "+-+-"),
        (3, 1, "--+---+", "+++++-+"),
        (2, 2, "-+--+-++", "+++----+"),
        (3, 3, "---++-+++-", "++------++"),
    ],
)
def test_a_verdict_turns_after_so_many_answers_of_a_kind_in_a_row(
    failures: int, successes: int, answers: str, verdicts: str
) -> None:
    course = CheckCourse(HealthCheck("pulse", succeed, failures=failures, successes=successes))
    seen = ""
    for answer in answers:
        course.note(None if answer == "+" else "no pulse", 0.0)
        seen += "+" if course.reason is None else "-"

    assert seen == verdicts


def test_one_bad_answer_is_enough_for_a_strict_one() -> None:
    course = CheckCourse(HealthCheck("pulse", succeed))
    course.note("no pulse", 5.0, strict=True)

    health = course.health(7.0)

    assert (health.healthy, health.reason, health.finding, health.age) == (False, "no pulse", "no pulse", 2.0)


def test_what_has_not_turned_the_verdict_yet_is_told_too() -> None:
    course = CheckCourse(HealthCheck("pulse", succeed, failures=3, role="liveness"))
    course.note("no pulse", 5.0, latency=0.25)
    course.note("no pulse", 6.0, latency=0.5)

    health = course.health(7.0)

    assert (health.healthy, health.reason, health.finding) == (True, None, "no pulse")
    assert (health.failing, health.failures, health.latency, health.role) == (2, 3, 0.5, "liveness")
    course.note(None, 8.0)
    assert course.health(8.0).failing == 0


def test_before_the_first_answer_a_component_counts_as_healthy() -> None:
    health = CheckCourse(HealthCheck("pulse", succeed)).health(7.0)
    assert (health.name, health.healthy, health.age) == ("pulse", True, None)


@pytest.mark.parametrize(
    "settings",
    [{"interval": 0}, {"timeout": float("inf")}, {"failures": 0}, {"successes": 0}, {"effect": "explode"}],
)
def test_a_check_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"positive|at least|effect"):
        HealthCheck("pulse", succeed, **settings)


# What follows.


@virtual_time
async def test_a_component_is_degraded_after_three_bad_answers_and_ready_after_a_good_one(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, interval=10)
    await patient.start()
    patient.finding = "no pulse"
    await asyncio.sleep(25)
    assert patient.state == (READY, None)

    await asyncio.sleep(10)
    assert patient.state == (DEGRADED, "unhealthy: pulse: no pulse")
    health = patient.coordinator.explain("hermes").health[0]
    assert (health.healthy, health.reason, health.age) == (False, "no pulse", pytest.approx(5))

    patient.finding = None
    await asyncio.sleep(10)
    assert patient.state == (READY, "healthy again")
    await patient.coordinator.close()


@virtual_time
async def test_a_fatal_check_fails_its_component_which_is_then_restarted(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, interval=10, failures=2, effect="fail")
    recovery = Recovery(inline_registry, patient.coordinator, clock=current_clock(), rng=random.Random(1))
    recovery.set_policy("hermes", RestartPolicy(backoff=(1, 1)))
    async with recovery:
        await patient.start()
        patient.finding = "no pulse"
        await asyncio.sleep(20.5)
        assert patient.state == (FAILED, "unhealthy: pulse: no pulse")

        patient.finding = None
        await asyncio.sleep(2)

        assert patient.state == (READY, None)
        record = inline_registry.find("hermes")
        assert record is not None
        assert record.generation == 2
    await patient.coordinator.close()


@virtual_time
async def test_one_bad_check_of_two_is_enough_and_both_must_recover(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=1)
    other = Patient(inline_registry)
    await patient.start(HealthCheck("breath", other.ask, failures=1))
    patient.finding = other.finding = "none"
    await patient.coordinator.check_health("hermes")
    assert patient.state == (DEGRADED, "unhealthy: pulse: none")

    patient.finding = None
    await patient.coordinator.check_health("hermes")
    assert patient.state[0] is DEGRADED
    other.finding = None
    health = await patient.coordinator.check_health("hermes")

    assert patient.state[0] is READY
    assert [one.name for one in health if one.healthy] == ["pulse", "breath"]
    await patient.coordinator.close()


@virtual_time
async def test_a_check_that_withdraws_takes_the_traffic_away_and_gives_it_back(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, interval=10, effect="withdraw", role="ready")
    await patient.start()
    changes: list[Change] = []
    inline_registry.feed.add_listener(changes.append)
    patient.finding = "no pulse"
    await asyncio.sleep(25)
    assert patient.serves

    await asyncio.sleep(10)
    assert (patient.state, patient.serves) == ((READY, None), False)

    patient.finding = None
    await asyncio.sleep(10)
    assert (patient.state, patient.serves) == ((READY, None), True)
    assert [(change.kind, change.reason) for change in changes] == [
        ("serving", "ready: pulse: no pulse"),
        ("serving", "healthy again"),
    ]
    await patient.coordinator.close()


@virtual_time
async def test_who_is_without_traffic_can_be_degraded_besides(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    other = Patient(inline_registry)
    await patient.start(HealthCheck("breath", other.ask, failures=1))
    patient.finding = other.finding = "none"
    await patient.coordinator.check_health("hermes")
    assert (patient.state[0], patient.serves) == (DEGRADED, False)

    other.finding = None
    await patient.coordinator.check_health("hermes")
    assert (patient.state[0], patient.serves) == (READY, False)

    patient.finding = None
    await patient.coordinator.check_health("hermes")
    assert (patient.state[0], patient.serves) == (READY, True)
    await patient.coordinator.close()


@virtual_time
async def test_traffic_that_somebody_else_has_taken_away_is_not_given_back(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    await patient.start()
    inline_registry.observe_serving("hermes", patient.instance, False, "draining")

    await patient.coordinator.check_health("hermes")
    patient.finding = "no pulse"
    await patient.coordinator.check_health("hermes")
    patient.finding = None
    await patient.coordinator.check_health("hermes")

    assert not patient.serves
    await patient.coordinator.close()


@virtual_time
async def test_traffic_that_a_check_took_first_and_somebody_else_then_is_not_given_back(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    await patient.start()
    patient.finding = "no pulse"
    await patient.coordinator.check_health("hermes")
    patient.coordinator.direct_traffic("hermes", patient.instance, False, "drained on request")

    patient.finding = None
    await patient.coordinator.check_health("hermes")
    assert not patient.serves

    patient.coordinator.direct_traffic("hermes", patient.instance, True, "no longer drained")
    assert patient.serves
    patient.finding = "no pulse"
    await patient.coordinator.check_health("hermes")
    assert not patient.serves
    await patient.coordinator.close()


@virtual_time
async def test_a_check_that_recovers_while_its_component_is_drained_for_a_stop_gives_nothing_back(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, failures=1, interval=1, effect="withdraw")
    config = ComponentConfig(start_func=succeed, stop_func=succeed, health=[patient.check], drain=10)
    await patient.coordinator.start_components({"hermes": config})
    patient.finding = "no pulse"
    await patient.coordinator.check_health("hermes")
    changes: list[Change] = []
    inline_registry.feed.add_listener(changes.append)
    patient.finding = None

    await patient.coordinator.stop_component("hermes")

    assert [change.kind for change in changes if change.kind == "serving"] == []
    await patient.coordinator.close()


@virtual_time
async def test_what_was_found_before_a_restart_of_ours_can_be_revised(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    await patient.start()
    await patient.coordinator.close()
    inline_registry.observe_serving("hermes", patient.instance, False, "ready: pulse: no pulse")

    successor = Patient(inline_registry, effect="withdraw", role="ready")
    await successor.coordinator.register_component_handler("hermes", succeed, health=[successor.check])
    await successor.coordinator.check_health("hermes")

    assert successor.serves
    await successor.coordinator.close()


@virtual_time
async def test_but_not_what_others_have_said_before(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    await patient.start()
    inline_registry.observe_serving("hermes", patient.instance, False, "drained")
    await patient.coordinator.close()

    successor = Patient(inline_registry, effect="withdraw", role="ready")
    await successor.coordinator.register_component_handler("hermes", succeed, health=[successor.check])
    await successor.coordinator.check_health("hermes")

    assert not successor.serves
    await successor.coordinator.close()


@virtual_time
async def test_other_checks_do_not_give_traffic_back_that_was_taken_away_by_hand(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, failures=1, effect="withdraw")
    await patient.start()
    inline_registry.observe_serving("hermes", patient.instance, False, "drained")

    await patient.coordinator.register_component_handler("hermes", succeed, health=[patient.check])
    await patient.coordinator.check_health("hermes")

    assert not patient.serves
    await patient.coordinator.close()


@virtual_time
async def test_a_liveness_check_is_patient_also_with_whoever_asks_strictly(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, failures=2, effect="fail", role="liveness")
    await patient.start()
    patient.finding = "no pulse"

    await patient.coordinator.check_health("hermes", strict=True)
    assert patient.state == (READY, None)
    await patient.coordinator.check_health("hermes", strict=True)

    assert patient.state == (FAILED, "liveness: pulse: no pulse")
    await patient.coordinator.close()


@virtual_time
async def test_what_somebody_else_has_degraded_stays_so(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry)
    await patient.start()
    await patient.observe(DEGRADED, "the cache is cold")

    await asyncio.sleep(60)

    assert patient.state == (DEGRADED, "the cache is cold")
    await patient.coordinator.close()


@virtual_time
async def test_a_component_that_declares_itself_ready_while_it_is_unhealthy_is_degraded_again(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, interval=10)
    await patient.start()
    patient.finding = "no pulse"
    await asyncio.sleep(35)
    await patient.observe(READY, "I feel fine")

    await asyncio.sleep(10)

    assert patient.state == (DEGRADED, "unhealthy: pulse: no pulse")
    await patient.coordinator.close()


# Who is asked, and when.


@virtual_time
async def test_only_usable_components_are_asked(inline_registry: ComponentRegistry) -> None:
    patient = Patient(inline_registry, interval=10)
    await patient.start()
    await asyncio.sleep(35)
    assert len(patient.asked) == 3

    await patient.coordinator.stop_component("hermes")
    await asyncio.sleep(100)
    assert len(patient.asked) == 3
    assert await patient.coordinator.check_health("hermes") == []

    await patient.coordinator.start_component("hermes")
    began = current_clock().monotonic()
    await asyncio.sleep(15)
    assert patient.asked[3:] == [began + 10]

    await patient.coordinator.close()
    await asyncio.sleep(100)
    assert len(patient.asked) == 4


@virtual_time
async def test_a_component_that_registered_itself_is_asked_too_once_it_has_checks(
    inline_registry: ComponentRegistry,
) -> None:
    patient = Patient(inline_registry, failures=1)
    patient.finding = "no pulse"
    registration = ComponentRegistration(component_id="hermes")
    await inline_registry.register(registration)
    await inline_registry.make_ready("hermes", registration.instance_uuid)

    await patient.coordinator.register_component_handler("hermes", succeed, health=[patient.check])
    await asyncio.sleep(6)

    assert patient.state[0] is DEGRADED
    await patient.coordinator.register_component_handler("hermes", succeed, health=[])
    await asyncio.sleep(60)
    assert len(patient.asked) == 1
    await patient.coordinator.close()


@virtual_time
async def test_a_late_answer_says_nothing_about_a_later_instance(inline_registry: ComponentRegistry) -> None:
    release = asyncio.Event()

    async def slow() -> bool:
        await release.wait()
        return False

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    check = HealthCheck("pulse", slow, failures=1, timeout=100)
    await coordinator.start_components({"hermes": ComponentConfig(start_func=succeed, health=[check])})
    asked = asyncio.ensure_future(coordinator.check_health("hermes"))
    await asyncio.sleep(1)
    await coordinator.restart_component("hermes")
    release.set()
    await asked

    record = inline_registry.find("hermes")
    assert record is not None
    assert record.state is READY
    await coordinator.close()


# Checks that misbehave.


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("behaviour", "finding"),
    [
        (RuntimeError("boom"), "RuntimeError: boom"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "the check was cancelled"),
        (False, "the check says no"),
        (None, "the check says no"),
        ("hang", "no answer within 2 s"),
    ],
    ids=str,
)
@virtual_time
async def test_a_check_may_do_what_it_likes(
    inline_registry: ComponentRegistry, behaviour: object, finding: str
) -> None:
    async def check() -> object:
        if behaviour == "hang":
            await hang()
        if isinstance(behaviour, BaseException):
            raise behaviour
        return behaviour

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    config = ComponentConfig(start_func=succeed, health=[HealthCheck("pulse", check, failures=2)])
    await coordinator.start_components({"hermes": config})

    for _ in range(2):
        health = await coordinator.check_health("hermes")

    assert (health[0].healthy, health[0].reason) == (False, finding)
    await coordinator.close()


@virtual_time
async def test_a_check_that_ignores_its_cancellation_is_not_asked_again_before_it_returns(
    inline_registry: ComponentRegistry,
) -> None:
    release = asyncio.Event()
    calls: list[int] = []

    async def stubborn() -> bool:
        calls.append(1)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return True

    coordinator = EnhancedStartUpCoordinator(inline_registry, clock=current_clock())
    config = ComponentConfig(start_func=succeed, health=[HealthCheck("pulse", stubborn, interval=5)])
    await coordinator.start_components({"hermes": config})

    await asyncio.sleep(5 + 2 + CANCEL_GRACE + 11)
    why = coordinator.explain("hermes")
    assert (len(calls), why.state, why.leaked) == (1, DEGRADED, ("health check pulse",))
    assert why.health[0].finding == "an earlier check has not returned"

    release.set()
    await asyncio.sleep(6)
    assert (len(calls), coordinator.explain("hermes").state) == (2, READY)
    await coordinator.close()


async def test_a_plain_check_runs_in_a_thread_and_one_that_hangs_takes_one_thread_not_many(
    registry: ComponentRegistry,
) -> None:
    begun, release = threading.Event(), threading.Event()
    calls: list[int] = []

    def blocked() -> bool:
        calls.append(threading.get_ident())
        begun.set()
        return release.wait(30)

    coordinator = EnhancedStartUpCoordinator(registry)
    leaps, check = Leaps(), HealthCheck("pulse", blocked, interval=0.01, timeout=10.0)
    try:
        async with asyncio.timeout(30):
            await coordinator.start_components({"hermes": ComponentConfig(start_func=succeed, health=[check])})
            assert await asyncio.to_thread(begun.wait, 20)
            leaps.leap(10.0)
            await registry.wait_until("hermes", lambda record: record is not None and record.state is DEGRADED)
            assert len(calls) == 1
            assert calls[0] != threading.get_ident()
            release.set()
            await registry.wait_until("hermes", lambda record: record is not None and record.state is READY)
    finally:
        release.set()
        await coordinator.close()
