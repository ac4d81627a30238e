"""Finding other components through the control plane, and calling them.

    engram = await find_component("engram")
    if engram:
        await engram.call_api("/api/memory/store", method="POST", data={"key": "a", "value": 1})

Discovery answers with components that can be used and take traffic: READY ones first, then DEGRADED ones. Where a
`Discovery` is open (a running `Component` has one), these functions look into its picture of the system; else the
control plane is asked each time, and what it answers is true at that moment.
"""

from typing import Any

from tekton.utils.calls import CallHook
from tekton.utils.control_plane import ControlPlane
from tekton.utils.discovery import Discovery, open_discovery
from tekton.utils.found_components import ComponentClient, ask_instances, ask_serving, best_of
from tekton.utils.tekton_errors import ComponentNotFoundError

__all__ = [
    "CallHook",
    "ComponentClient",
    "ControlPlane",
    "Discovery",
    "call_api",
    "call_capability",
    "find_component",
    "find_components_by_capability",
]


async def find_component(component_id: str, *, control_plane: ControlPlane | None = None) -> ComponentClient | None:
    """The component with this id; None when there is none, or none that can be used.

    The control plane is that of the open `Discovery`, else that of the environment, unless it is given. Raises
    TransportError when it does not answer, and InvalidIdError, which an open `Discovery` does not.
    """
    if control_plane is None and (discovery := open_discovery()) is not None:
        return await discovery.find_component(component_id)
    async with (control_plane or await ControlPlane.locate()).client() as client:
        records = await ask_instances(client, component_id)
    best = best_of(records)
    return None if best is None else ComponentClient(best, lambda: records)


async def find_components_by_capability(
    capability: str, *, control_plane: ControlPlane | None = None
) -> list[ComponentClient]:
    """All components that can be used and offer *capability*, READY ones first; see `find_component`.

    While there are none, the fallback that stands in for them.
    """
    if control_plane is None and (discovery := open_discovery()) is not None:
        return await discovery.find_components_by_capability(capability)
    async with (control_plane or await ControlPlane.locate()).client() as client:
        return (await ask_serving(client, capability)).clients()


async def call_api(
    component_id: str,
    path: str,
    method: str | None = None,
    data: object = None,
    *,
    control_plane: ControlPlane | None = None,
    **how: Any,
) -> Any:
    """Find a component and call its API; *how* is what `ComponentClient.call_api` takes, and errors are its errors.

    Raises ComponentNotFoundError when nobody knows the component, NoUsableInstanceError when it cannot be used.
    """
    if control_plane is None and (discovery := open_discovery()) is not None:
        return await discovery.call_api(component_id, path, method, data, **how)
    async with (control_plane or await ControlPlane.locate()).client() as client:
        records = await ask_instances(client, component_id)
    if not records:
        raise ComponentNotFoundError(component_id)
    # Without a usable one the call itself says what keeps each from being called.
    return await ComponentClient(best_of(records) or records[0], lambda: records).call_api(path, method, data, **how)


async def call_capability(
    capability: str,
    path: str,
    method: str | None = None,
    data: object = None,
    *,
    control_plane: ControlPlane | None = None,
    **how: Any,
) -> Any:
    """Call whoever serves *capability*, and when that fails those who stand in, each with its parameters in *data*.

    *how* is what `ComponentClient.call_api` takes. Raises NoFallbackAvailableError, which tells of each why not, and
    what is reported about the request. Without an open `Discovery` one is opened for this call, which takes a moment.
    """
    if control_plane is None and (discovery := open_discovery()) is not None:
        return await discovery.call_capability(capability, path, method, data, **how)
    discovery = Discovery(control_plane or await ControlPlane.locate())
    try:
        # It begins to watch with this call, and within its time.
        return await discovery.call_capability(capability, path, method, data, **how)
    finally:
        await discovery.stop()
