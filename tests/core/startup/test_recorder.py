"""The recorder of the last start."""

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup.recorder import StartRecord, StartRecorder
from tekton.testing import ManualClock


class System:
    """A registry whose clock the test moves, with a recorder."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = ComponentRegistry(clock=self.clock)
        self.launched: dict[str, float] = {}
        self.recorder = StartRecorder(self.registry, clock=self.clock, launched=self.launched.get)
        self.began = self.clock.time()
        self._instances: dict[str, str] = {}

    def at(self, seconds: float) -> None:
        """Let it be so many seconds after the beginning."""
        self.clock.advance(self.began + seconds - self.clock.time())

    async def register(self, name: str) -> None:
        found = await self.registry.register(ComponentRegistration(component_id=name))
        self._instances[name] = found.record.instance_uuid

    async def ready(self, name: str) -> None:
        await self.registry.make_ready(name, self._instances[name])

    def end(self, name: str, *states: ComponentState, reason: str) -> None:
        for state in states:
            assert self.registry.observe(name, self._instances[name], state, reason)

    def record(self, name: str) -> StartRecord:
        return next(one for one in self.recorder.report().components if one.component_id == name)


@pytest.fixture
def system() -> System:
    return System()


def needs(**dependencies: str) -> dict[str, list[Dependency]]:
    return {name: [Dependency(need) for need in found.split()] for name, found in dependencies.items()}


async def start(system: System, name: str, begin: float, ready: float) -> None:
    system.at(begin)
    await system.register(name)
    system.at(ready)
    await system.ready(name)


async def test_before_any_start_there_is_nothing(system: System) -> None:
    report = system.recorder.report()

    assert report.components == report.critical_path == []
    assert (report.duration, report.began_at, report.done) == (0.0, None, True)


async def test_the_critical_path_goes_back_from_the_last_one_over_what_each_waited_for_last(system: System) -> None:
    system.recorder.begin(needs(hermes="", engram="hermes", cache="", api="engram cache"))
    system.at(0.0)
    await system.register("cache")
    await start(system, "hermes", 0.0, 1.0)
    await system.ready("cache")
    await start(system, "engram", 1.0, 3.0)
    await start(system, "api", 3.0, 4.5)
    system.recorder.finish()

    report = system.recorder.report()
    assert report.critical_path == ["hermes", "engram", "api"]
    assert report.duration == 4.5
    assert report.done


async def test_a_record_tells_when_what_happened(system: System) -> None:
    system.launched["engram"] = system.began + 1.25
    system.recorder.begin(needs(hermes="", engram="hermes"))
    await start(system, "hermes", 0.5, 1.0)
    await start(system, "engram", 1.0, 3.0)

    engram = system.record("engram")
    times = (engram.queued_at, engram.started_at, engram.launched_at, engram.ready_at)
    assert [moment - system.began for moment in times if moment is not None] == [0.0, 1.0, 1.25, 3.0]
    assert (engram.waited, engram.blocked_by, engram.state) == (["hermes"], "hermes", ComponentState.READY)
    assert system.record("hermes").launched_at is None


async def test_what_was_not_started_names_what_kept_it(system: System) -> None:
    system.recorder.begin(needs(hermes="", engram="hermes ghost", api="engram"))
    await start(system, "hermes", 0.0, 1.0)

    assert system.record("engram").blocked_by == "ghost"
    assert system.record("api").blocked_by == "engram"
    assert system.record("api").started_at is None


async def test_a_one_shot_is_ready_when_it_is_done(system: System) -> None:
    system.recorder.begin({"migrate": [], "api": [Dependency("migrate", "completed")]})
    await start(system, "migrate", 0.0, 0.5)
    system.at(2.0)
    system.end("migrate", ComponentState.STOPPING, ComponentState.STOPPED, reason="completed")
    await start(system, "api", 2.0, 3.0)

    assert system.record("migrate").ready_at == system.began + 2.0
    assert system.recorder.report().critical_path == ["migrate", "api"]


async def test_what_was_there_already_was_not_waited_for(system: System) -> None:
    await start(system, "hermes", 0.0, 1.0)
    system.recorder.begin(needs(hermes="", api="hermes"))
    await start(system, "api", 1.0, 2.0)

    assert system.record("api").waited == []
    assert system.record("api").blocked_by is None
    assert system.record("hermes").state is ComponentState.READY
    assert system.recorder.report().critical_path == ["api"]


async def test_what_happens_after_the_start_is_no_part_of_it(system: System) -> None:
    system.recorder.begin(needs(hermes=""))
    await start(system, "hermes", 0.0, 1.0)
    system.recorder.finish()
    before = system.recorder.report()
    system.at(100.0)
    system.end("hermes", ComponentState.FAILED, reason="exit 1")

    assert system.recorder.report() == before


async def test_a_second_start_forgets_the_first(system: System) -> None:
    system.recorder.begin(needs(hermes=""))
    await start(system, "hermes", 0.0, 1.0)
    system.recorder.begin(needs(api=""))

    assert [one.component_id for one in system.recorder.report().components] == ["api"]
    assert not system.recorder.report().done
