"""examples/orders: what the shop has taken is billed, whatever is killed with SIGKILL in the middle of its work."""

import http.client
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tekton.testing import free_port

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "orders"
ORDERS = int(os.environ.get("TEKTON_EXAMPLE_ORDERS", "60"))


@pytest.fixture
def system(tekton: Any) -> Iterator[Any]:
    """The example, with billing in no hurry."""
    shutil.copytree(EXAMPLE, tekton.directory, dirs_exist_ok=True)
    components = json.loads((EXAMPLE / "components.json").read_text())["components"]
    for component in components.values():
        component["command"][0] = sys.executable
        component["port"] = free_port()
        component["env"] = {"BILLS": str(tekton.directory / "bills"), "WORK": "0.04"}
    tekton.configure(components)
    main = json.loads((tekton.directory / "tekton.json").read_text())
    example = json.loads((EXAMPLE / "tekton.json").read_text())
    (tekton.directory / "tekton.json").write_text(json.dumps({"tekton": main["tekton"] | example["tekton"]}))
    tekton.up()
    tekton.until("shop")
    yield tekton
    tekton.kill()


def place(endpoint: str, count: int) -> str | None:
    """Place an order; its id, if the shop has taken it."""
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        body = json.dumps({"item": "cake", "count": count})
        connection.request("POST", "/api/orders", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        return str(content["order"]) if answer.status == 201 else None
    finally:
        connection.close()


def test_what_was_acknowledged_is_done_though_both_sides_are_killed(system: Any, eventually: Any) -> None:
    bills = system.directory / "bills"
    endpoint = system.component("shop")["endpoint"]
    with ThreadPoolExecutor(8) as shoppers:
        placed = list(shoppers.map(lambda number: place(endpoint, number + 1), range(ORDERS)))
    taken = {order: number for number, order in enumerate(placed, 1) if order is not None}

    def written() -> int:
        return len(list(bills.glob("*.json")))

    assert len(taken) == ORDERS, "nothing was killed by now"
    killed = None
    for share in (0.1, 0.2):
        eventually(lambda share=share: written() >= share * ORDERS, "some are billed")
        killed = eventually(lambda before=killed: pid_of_billing(system, before), "billing runs")
        os.kill(killed, signal.SIGKILL)
    eventually(lambda: written() >= 0.3 * ORDERS, "a third is billed")
    os.kill(system.control_pid, signal.SIGKILL)
    eventually(lambda: written() >= ORDERS, "all are billed", patience=40.0)

    found = {file.stem: json.loads(file.read_text())["count"] for file in bills.glob("*.json")}
    assert found == taken
    eventually(lambda: orders(system) == {"acknowledged": ORDERS, "dead_letters": 0}, "all is acknowledged")


def pid_of_billing(system: Any, before: int | None) -> int | None:
    """That of the process after the one *before*, if there is one."""
    pid: int | None = system.component("billing")["pid"]
    return None if pid == before else pid


def orders(system: Any) -> dict[str, int]:
    """How far billing is; nothing while the control plane is away."""
    with suppress(OSError, http.client.HTTPException):
        [stream] = [one for one in system.get("/api/streams")["items"] if one["name"] == "orders"]
        [consumer] = stream["consumers"]
        return {name: consumer[name] for name in ("acknowledged", "dead_letters")}
    return {}
