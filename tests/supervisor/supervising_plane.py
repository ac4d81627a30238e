"""A control plane with a registry on disk and a supervisor: `supervising_plane.py COMPONENTS_FILE DATA_DIR`.

Every change, and the end of the start-up, is a line in `DATA_DIR/changes`. SIGTERM stops everything. On SIGUSR1
all that can be used is FAILED, as if it hung.
"""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentState
from tekton.core.recovery import Recovery
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress, Supervisor
from tekton.utils.tekton_config import TektonConfig


def fail_all(registry: ComponentRegistry) -> None:
    for record in registry.all_instances():
        registry.observe(record.component_id, record.instance_uuid, ComponentState.FAILED, "no heartbeat for 30 s")


async def main(config: TektonConfig) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    changes = (config.data_dir / "changes").open("a", buffering=1)
    guard = await GuardClient.connect(int(os.environ["TEKTON_GUARD_FD"]), on_lost=lambda: os._exit(70))
    async with ComponentRegistry(config.data_dir) as registry, EnhancedStartUpCoordinator(registry) as coordinator:
        recovery = Recovery(registry, coordinator, rng=random.Random(1))
        supervisor = Supervisor(
            config=config, registry=registry, coordinator=coordinator, recovery=recovery, guard=guard
        )

        def note(change: Change) -> None:
            line = {"id": change.component_id, "state": change.state.value, "reason": change.reason}
            changes.write(json.dumps(line | {"plane": guard.incarnation}) + "\n")

        registry.feed.add_listener(note)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, fail_all, registry)
        await supervisor.prepare(ControlPlaneAddress("http://127.0.0.1:1"))
        await recovery.start()
        await coordinator.start_components(supervisor.startable())
        views = {name: supervisor.view(name) for name in config.components}
        pids = {name: view.pid for name, view in views.items() if view is not None}
        notes = {name: view.note for name, view in views.items() if view is not None and view.note}
        instances = {record.component_id: record.instance_uuid for record in registry.components()}
        changes.write(json.dumps({"up": os.getpid(), "pids": pids, "notes": notes, "instances": instances}) + "\n")
        await stop.wait()
        await recovery.stop()
        await supervisor.stop()
    return 0


if __name__ == "__main__":
    components, data_dir = sys.argv[1:]
    overrides = {"data_dir": data_dir}
    sys.exit(asyncio.run(main(TektonConfig.load(Path(components), overrides, {"HOME": data_dir}))))
