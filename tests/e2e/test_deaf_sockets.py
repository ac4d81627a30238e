"""Clients that subscribe and then read nothing: they cost little, are cut, and keep nobody else from anything."""

import asyncio
import json
import os
import socket
from contextlib import ExitStack
from typing import Any

import aiohttp
import psutil
import pytest

CLIENTS = int(os.environ.get("TEKTON_DEAF_SOCKETS", "30"))
"""How many of them there are; 1,000 by hand, which is what one caller may have."""
MOST = 512 * 2**20
"""Bytes that the control plane may have, as in every other flood."""
PACE = 0.01
"""Seconds between two messages: those that wait for the sockets to be cut need no more."""
CONTENT = "x" * 50_000
FILLS = 3 * 2**20
"""Bytes that are under way to a socket at least, until what is sent to it waits."""
SUBSCRIBE = b'{"op":"sub","id":1,"subject":"news.>"}'


async def subscribe_and_stop_reading(port: int, credential: str) -> socket.socket:
    upgrade = (
        f"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nauthorization: Bearer "
        f"{credential}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setblocking(False)
    frame = bytes([0x81, 0x80 | len(SUBSCRIBE)]) + bytes(4) + SUBSCRIBE
    await loop.sock_sendall(connection, upgrade.encode() + frame)
    answer = b""
    while b'"t":"subscribed"' not in answer:
        answer += await loop.sock_recv(connection, 4096)
    return connection


async def next_number(reading: aiohttp.ClientWebSocketResponse) -> int:
    """Which message comes next."""
    while (frame := await reading.receive_json())["t"] != "msg":
        assert frame["t"] in ("subscribed", "ping"), frame
    return int(frame["message"]["metadata"]["number"])


@pytest.mark.timeout(60 + CLIENTS / 10)
def test_many_who_read_nothing_are_cut_and_cost_little_and_who_reads_misses_nothing(tekton: Any) -> None:
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = {"max_streams": CLIENTS + 16, "max_streams_per_caller": CLIENTS + 16}
    file.write_text(json.dumps(settings))
    tekton.up()
    process = psutil.Process(tekton.control_pid)
    credential = (tekton.data_dir / "run" / "credential").read_text()
    key = tekton.request("POST", "/api/keys", {"subject": "reader", "roles": ["operator"]})[1]["key"]
    url = f"http://127.0.0.1:{tekton.port}"

    async def open_streams(session: aiohttp.ClientSession) -> int:
        async with session.get(f"{url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return int(float(next(line.split()[1] for line in lines if line.startswith("tekton_http_streams_open "))))

    async def talk() -> tuple[list[int], int]:
        """Publish until all who read nothing are cut: what the one got who reads, and how large the process became."""
        heard: list[int] = []
        largest = 0
        async with (
            asyncio.timeout(40 + CLIENTS / 10),
            aiohttp.ClientSession(headers={"authorization": f"Bearer {credential}"}) as session,
            session.ws_connect(f"{url}/ws", headers={"authorization": f"Bearer {key}"}) as reading,
        ):
            await reading.send_str(SUBSCRIBE.decode())
            before = await open_streams(session)
            with ExitStack() as deaf:
                for _ in range(CLIENTS):
                    deaf.enter_context(await subscribe_and_stop_reading(tekton.port, credential))
                while await open_streams(session) != before + CLIENTS:  # noqa: ASYNC110 - told once a second
                    await asyncio.sleep(PACE)
                while await open_streams(session) > before:
                    body = {"message_type": "event", "content": CONTENT, "metadata": {"number": len(heard)}}
                    async with session.post(f"{url}/api/messages?subject=news.all", json=body) as answer:
                        assert answer.status == 201
                    heard.append(await next_number(reading))
                    largest = max(largest, process.memory_info().rss)
                    await asyncio.sleep(PACE)
        return heard, largest

    heard, largest = asyncio.run(talk())

    assert heard == list(range(len(heard)))
    assert len(heard) * len(CONTENT) > FILLS
    assert largest < MOST
    assert tekton.get("/api/health")["status"] == "ok"
    assert tekton.control_pid == process.pid
