"""Clients of the bus whose connections are cut again and again, at a control plane of its own process."""

import asyncio
import json
import os
import random
from typing import Any

import aiohttp

CLIENTS = int(os.environ.get("TEKTON_BUS_STORM", "16"))
"""How many clients come back all the time; 1,000 by hand."""
MESSAGES = 200


class Follower:
    """Somebody who follows a stream, on a socket or by events, and whose connection does not last."""

    def __init__(self, session: aiohttp.ClientSession, url: str, chance: random.Random) -> None:
        self._session = session
        self._url = url
        self._chance = chance
        self.got: list[int] = []
        self.connections = 0

    async def follow(self) -> None:
        """Come back until all of it is there."""
        while len(self.got) < MESSAGES:
            self.connections += 1
            await (self._listen() if self._chance.random() < 0.5 else self._read())

    def _patience(self) -> int:
        return self._chance.randrange(1, MESSAGES // 4)

    async def _listen(self) -> None:
        async with self._session.ws_connect(f"{self._url}/ws") as socket:
            await socket.send_json({"op": "sub", "id": 1, "stream": "orders", "since": len(self.got)})
            assert (await socket.receive_json())["t"] == "subscribed"
            for _ in range(min(self._patience(), MESSAGES - len(self.got))):
                frame = await socket.receive_json()
                assert frame["t"] == "msg", frame
                self._note(frame)
            assert socket._response.connection is not None
            assert socket._response.connection.transport is not None
            socket._response.connection.transport.abort()

    async def _read(self) -> None:
        last = {"Last-Event-ID": f"orders:{len(self.got)}"}
        async with self._session.get(f"{self._url}/events/orders/new", headers=last) as answer:
            left = min(self._patience(), MESSAGES - len(self.got))
            while left and (line := await answer.content.readline()):
                assert b"reset" not in line
                if line.startswith(b'data: {"subject"'):
                    self._note(json.loads(line.removeprefix(b"data: ")))
                    left -= 1
            answer.close()

    def _note(self, event: dict[str, Any]) -> None:
        self.got.append(event["sequence"])
        assert event["message"]["content"] == event["sequence"]


def test_who_comes_back_all_the_time_misses_nothing_of_a_stream_and_gets_nothing_twice(tekton: Any) -> None:
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    # Who comes back is there twice, until the server has noticed that he was gone.
    most = {"max_streams": 2 * CLIENTS + 16, "max_streams_per_caller": 2 * CLIENTS + 16}
    settings["tekton"]["security"] = most
    file.write_text(json.dumps(settings))
    tekton.up()
    assert tekton.request("PUT", "/api/streams/orders", {"subjects": ["orders.>"]})[0] in (200, 201)
    credential = (tekton.data_dir / "run" / "credential").read_text()
    url = f"http://127.0.0.1:{tekton.port}"

    async def storm() -> list[Follower]:
        headers = {"authorization": f"Bearer {credential}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with asyncio.timeout(50), aiohttp.ClientSession(headers=headers, connector=connector) as session:
            followers = [Follower(session, url, random.Random(number)) for number in range(CLIENTS)]
            async with asyncio.TaskGroup() as group:
                for follower in followers:
                    group.create_task(follower.follow())
                for number in range(1, MESSAGES + 1):
                    body = {"message_type": "event", "content": number}
                    async with session.post(f"{url}/api/messages?subject=orders.new", json=body) as answer:
                        assert answer.status == 201
            return followers

    followers = asyncio.run(storm())
    refused, _ = tekton.request(
        "POST",
        "/api/messages?subject=orders.new",
        {"message_type": "event", "content": 0, "context": {"sender": "tekton"}},
    )
    tekton.stop()
    tekton.up()
    entries = tekton.get("/api/audit?action=message.publish")["items"]

    assert [follower.got for follower in followers] == [list(range(1, MESSAGES + 1))] * CLIENTS
    assert min(follower.connections for follower in followers) > 2
    assert refused == 403
    assert [(one["actor"], one["target"], one["outcome"]) for one in entries] == [("owner", "orders.new", "refused")]
