"""The streams of a control plane over HTTP: which there are, and how they are made and deleted."""

from typing import Any
from urllib.parse import quote

import msgspec

from tekton.bus.bus import ConsumerInfo, ConsumerSettings, StreamInfo, StreamSettings
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_ids import check_id

__all__ = ["StreamsClient"]

_TIMEOUT = 30.0
_PATH = "/api/streams"


class StreamsClient:
    """See `tekton.bus.bus.Bus`, whose methods of these names it has the work of. Raises InvalidIdError for their names.

    What is no name is not sent: in a path it could lead to something else.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self._http = control_plane.client(_TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def whoami(self) -> dict[str, Any]:
        """Whom the control plane takes us for."""
        who: dict[str, Any] = await self._http.request("GET", "/api/auth/whoami")
        return who

    async def create(self, name: str, settings: StreamSettings) -> StreamInfo:
        """See `Bus.create_stream`."""
        return info_of(await self._http.request("PUT", _path(name), msgspec.to_builtins(settings)))

    async def delete(self, name: str) -> None:
        """See `Bus.delete_stream`."""
        await self._http.request("DELETE", _path(name))

    async def all(self) -> list[StreamInfo]:
        """See `Bus.streams`."""
        answer = await self._http.request("GET", _PATH)
        return [info_of(view) for view in answer["items"]]

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """See `Bus.delete_consumer`."""
        name = quote(check_id(consumer, "/consumer"), safe="")
        await self._http.request("DELETE", f"{_path(stream)}/consumers/{name}")


def info_of(view: dict[str, Any]) -> StreamInfo:
    """A stream as the API shows it. Raises msgspec.ValidationError."""
    settings = msgspec.convert(view, StreamSettings)
    consumers = tuple(_consumer(each) for each in view["consumers"])
    return StreamInfo(
        view["name"],
        settings,
        view["messages"],
        view["size"],
        view["first"],
        view["last"],
        consumers,
        view.get("dropped", 0),
    )


def _consumer(view: dict[str, Any]) -> ConsumerInfo:
    names = ("acknowledged", "in_flight", "waiting", "redelivered", "dead_letters", "lost")
    counts = {name: view.get(name, 0) for name in names}
    settings, owner = msgspec.convert(view, ConsumerSettings), view.get("owner") or ""
    return ConsumerInfo(view["name"], settings, **counts, owner=owner, waiting_more=view.get("waiting_more", False))


def _path(name: str) -> str:
    return f"{_PATH}/{quote(check_id(name, '/name'), safe='')}"
