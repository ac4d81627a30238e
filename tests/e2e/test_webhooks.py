"""A webhook of a task, and a control plane that is killed while it tells it something."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tekton.testing import free_port

PATIENCE = 20.0
PROGRAM = """
import tekton
from tekton.a2a.task_steps import TaskContext

app = tekton.Component("interviewer")


@app.agent("interviewer", capabilities=["interview"])
async def interview(context: TaskContext) -> str:
    answers = [await context.ask(question, name=question) for question in ("name", "age")]
    return ", ".join(answers)


app.run()
"""


class Webhook:
    """Remembers what it was told. It does not answer to the first *question* before it is *released*."""

    def __init__(self, question: str) -> None:
        self.told: list[str] = []
        self.asked, self.released = threading.Event(), threading.Event()
        self._question = question

    def hear(self, event: dict[str, Any]) -> None:
        """Take *event*."""
        self.told.append(what(event))
        if self.told[-1] == self._question:
            self.asked.set()
            self.released.wait(PATIENCE)


def what(event: dict[str, Any]) -> str:
    """What was told, in a word."""
    if "artifactUpdate" in event:
        return str(event["artifactUpdate"]["artifact"]["parts"][0]["text"])
    status = event["statusUpdate"]["status"]
    parts = status.get("message", {}).get("parts", [])
    return str(parts[0]["text"] if parts else status["state"].removeprefix("TASK_STATE_").lower())


@contextmanager
def served(webhook: Webhook) -> Iterator[str]:
    """The URL of *webhook*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.hear(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            webhook.released.set()
            server.shutdown()
            thread.join()


def configure(tekton: Any) -> None:
    """A system with an agent that asks twice, whose webhooks may be on this machine."""
    program = tekton.directory / "interviewer.py"
    program.write_text(PROGRAM)
    ready = {"http": "/api/ready", "interval": 0.1}
    tekton.configure({"interviewer": {"command": [sys.executable, str(program)], "port": free_port(), "ready": ready}})
    file = Path(tekton.directory) / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["security"] = {"callback_networks": ["127.0.0.0/8"]}
    file.write_text(json.dumps(settings))


def message(message_id: str, text: str, **members: str) -> dict[str, Any]:
    said = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}]}
    return {"message": said | {"metadata": {"skill": "interview"}} | members}


def send(tekton: Any, params: dict[str, Any]) -> dict[str, Any]:
    """The task after a message."""
    order = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
    status, answer = tekton.request("POST", "/a2a?A2A-Version=1.0", order)
    assert (status, "result" in answer) == (200, True), answer
    return answer["result"]["task"]  # type: ignore[no-any-return]


def once(events: list[str]) -> list[str]:
    """*events* without those that came twice in a row."""
    return [event for event, before in zip(events, ["", *events], strict=False) if event != before]


def test_a_webhook_is_told_everything_in_order_when_the_control_plane_is_killed(tekton: Any, eventually: Any) -> None:
    configure(tekton)
    tekton.up()
    tekton.until("interviewer")
    eventually(lambda: tekton.get("/api/agents")["items"], "the agent is known")
    webhook = Webhook("name")
    with served(webhook) as url:
        first = message("first", "hi") | {"configuration": {"taskPushNotificationConfig": {"url": url}}}
        task = send(tekton, first)
        assert webhook.asked.wait(PATIENCE)
        told = len(webhook.told)
        before = tekton.control_pid
        os.kill(before, signal.SIGKILL)
        eventually(lambda: tekton.answers() and tekton.control_pid != before, "another control plane")
        assert send(tekton, first)["id"] == task["id"]
        webhook.released.set()
        for number, text in enumerate(("Ada", "36")):
            done = send(tekton, message(f"answer-{number}", text, taskId=task["id"]))
        eventually(lambda: webhook.told[-1] == "completed", f"everything was told: {webhook.told}")

    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    everything = ["working", "name", "working", "age", "working", "Ada, 36", "completed"]
    assert once(webhook.told[:told]) == everything[:2]
    # That it has got the first one was on the disk by then, or was not: then it is told so once more.
    assert once(webhook.told[told:]) in (everything, everything[1:])
