"""The client of the official SDK and a whole system: an agent of a component, a key that is damaged, a kill, a stop."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from a2a.client import ClientConfig, create_client
from a2a.client.card_resolver import parse_agent_card
from a2a.client.client import Client
from a2a.types import a2a_pb2 as pb
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt import PyJWKSet

from tekton.testing import free_port
from tekton.utils.trace_context import new_trace

PROGRAM = """
import tekton
from tekton.a2a.task_steps import TaskContext

app = tekton.Component("greeter")


@app.agent("greeter", capabilities=["greeting"])
async def greet(context: TaskContext) -> str:
    return f"Hello {await context.ask('What is your name?')}"


app.run()
"""


def message(message_id: str, text: str, **members: str) -> pb.SendMessageRequest:
    said = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}]}
    return ParseDict({"message": said | {"metadata": {"skill": "greeting"}} | members}, pb.SendMessageRequest())


async def ask(sdk: Client, request: pb.SendMessageRequest) -> pb.Task:
    return [answer async for answer in sdk.send_message(request)][-1].task


async def greeted(tekton: Any, http: httpx.AsyncClient, eventually: Any) -> pb.Task:
    """The task, of which the control plane is killed while it waits for an answer."""
    config = ClientConfig(streaming=False, httpx_client=http, supported_protocol_bindings=["JSONRPC"])
    sdk = await create_client(f"http://127.0.0.1:{tekton.port}", config)
    asked = await ask(sdk, message("first", "hi"))
    assert asked.status.state == pb.TASK_STATE_INPUT_REQUIRED, asked

    await unsigned(tekton, http)
    before = tekton.control_pid
    (Path(tekton.data_dir) / "keys" / "cards.json").unlink()
    os.kill(before, signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: comes_back(tekton, before), "another control plane")
    await signed(tekton, http)

    again = await ask(sdk, message("first", "hi"))
    assert (again.id, again.status.state) == (asked.id, pb.TASK_STATE_INPUT_REQUIRED)
    return await ask(sdk, message("second", "Ada", taskId=asked.id))


async def unsigned(tekton: Any, http: httpx.AsyncClient) -> None:
    """The key of the cards is damaged, and all the rest goes on."""
    url = f"http://127.0.0.1:{tekton.port}"
    ready = (await http.get(f"{url}/api/ready")).json()
    assert ready == {"ready": True, "reason": None, "impaired": ["agent cards: not signed"]}
    assert (await http.get(f"{url}/a2a/jwks.json")).json() == {"keys": []}
    assert "signatures" not in (await http.get(f"{url}/.well-known/agent-card.json")).json()
    answer = await http.post(f"{url}/api/auth/signing-keys/rotate", json={"use": "cards"})
    assert (answer.status_code, answer.json()["code"]) == (503, "key_file")


async def signed(tekton: Any, http: httpx.AsyncClient) -> None:
    """There is a new key, in place of one that was moved away, and then another one beside it."""
    url = f"http://127.0.0.1:{tekton.port}"
    for count in (1, 2):
        keys = PyJWKSet.from_dict((await http.get(f"{url}/a2a/jwks.json")).json()).keys
        card = parse_agent_card((await http.get(f"{url}/.well-known/agent-card.json")).json())
        assert (len(keys), len(card.signatures)) == (count, count)
        for key in keys:
            create_signature_verifier(lambda _, __, key=key: key, ["EdDSA"])(card)
        await http.post(f"{url}/api/auth/signing-keys/rotate", json={"use": "cards"})
    assert (await http.get(f"{url}/api/ready")).json()["impaired"] == []


def comes_back(tekton: Any, before: int) -> bool:
    with suppress(OSError, ValueError):
        return bool(tekton.answers() and tekton.control_pid != before)
    return False


def is_traced(tekton: Any, trace_id: str) -> bool:
    """The agent has worked in the trace of who has asked, before and after the kill."""
    status, trace = tekton.request("GET", f"/api/traces/{trace_id}")
    spans = trace["spans"] if status == 200 else []
    return {"task greeting", "ask ask"} <= {one["name"] for one in spans if one["component"] == "greeter"}


async def stopped(tekton: Any, http: httpx.AsyncClient) -> tuple[list[pb.StreamResponse], int]:
    """What a stream tells that is open while the system is stopped, and the exit code of that."""
    config = ClientConfig(streaming=True, httpx_client=http, supported_protocol_bindings=["HTTP+JSON"])
    sdk = await create_client(f"http://127.0.0.1:{tekton.port}", config)
    answers = [answer async for answer in sdk.send_message(message("third", "hi"))]
    task = answers[0].task
    stream = aiter(sdk.subscribe(pb.SubscribeToTaskRequest(id=task.id)))
    opened = [await anext(stream)]
    stopping = asyncio.create_task(asyncio.to_thread(tekton.stop))
    opened += [event async for event in stream]
    return opened, await stopping


def test_a_task_outlasts_the_control_plane_and_a_stream_ends_with_it(tekton: Any, eventually: Any) -> None:
    program = tekton.directory / "greeter.py"
    program.write_text(PROGRAM)
    ready = {"http": "/api/ready", "interval": 0.1}
    tekton.configure({"greeter": {"command": [sys.executable, str(program)], "port": free_port(), "ready": ready}})
    damaged = Path(tekton.data_dir) / "keys" / "cards.json"
    damaged.parent.mkdir(0o700, parents=True)
    damaged.write_bytes(b"")
    damaged.chmod(0o600)
    tekton.up()
    tekton.until("greeter")
    eventually(lambda: tekton.get("/api/agents")["items"], "the agent is known")
    credential = (Path(tekton.data_dir) / "run" / "credential").read_text().strip()

    async def run() -> None:
        here = new_trace()
        shown = {"authorization": f"Bearer {credential}", "traceparent": here.traceparent()}
        async with httpx.AsyncClient(headers=shown, timeout=30, trust_env=False) as http:
            task = await greeted(tekton, http, eventually)
            assert [part.text for part in task.artifacts[0].parts] == ["Hello Ada"], task
            assert [one.parts[0].text for one in task.history] == ["hi", "What is your name?", "Ada"]
            await asyncio.to_thread(eventually, lambda: is_traced(tekton, here.trace_id), "the spans of the agent")
            opened, code = await stopped(tekton, http)
            assert opened[0].task.status.state == pb.TASK_STATE_INPUT_REQUIRED
            assert code == 0

    asyncio.run(run())
