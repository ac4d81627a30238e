"""Mistakes that a type checker finds. An expected error that is not reported is an error itself (`--strict`)."""

import tekton
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.utils.component_client import find_component

tekton.Componnent  # type: ignore[attr-defined]  # noqa: B018

ComponentRegistration(component_name="no id")  # type: ignore[call-arg]
ComponentRegistration(component_id="memory", capabilitys=())  # type: ignore[call-arg]
ComponentRegistration(component_id="memory").component_id = "other"  # type: ignore[misc]

app = tekton.Component("greeter", capabilities=7)  # type: ignore[arg-type]


@app.ready_when  # type: ignore[type-var]
async def ready() -> str:
    return "yes"


async def calling(registry: ComponentRegistry) -> None:
    await registry.set_state("memory", "…", "ready")  # type: ignore[arg-type]
    registry.observe("memory", "…", ComponentState.FAILED)  # type: ignore[call-arg]
    engram = await find_component("engram")
    await engram.call_api("/api/memory")  # type: ignore[union-attr]
