"""Being a component of a Tekton that has not started this program: it registers, beats, leaves. Standard library.

What `tekton up` starts is known without it. In a container of its own nobody has started a program for Tekton, and so
it says by itself that it is there: three calls, with the key that TEKTON_CREDENTIAL_FILE names.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from peers import RefusedError, fetch

FORGOTTEN_AFTER = 3600  # seconds; each container is another instance
AGAIN = 2.0  # seconds until the next attempt


def is_needed() -> bool:
    """True where nobody has started this program for Tekton, and there is a key to show."""
    return "TEKTON_CREDENTIAL_FILE" in os.environ and "TEKTON_INSTANCE_UUID" not in os.environ


class Membership:
    """Keeps a component registered, from a thread of its own, until it leaves."""

    def __init__(self, name: str, endpoint: str, capabilities: Sequence[str], log: Callable[[str], None]) -> None:
        self._place = f"{os.environ['TEKTON_URL']}/api/components"
        self._name = name
        self._is = {"component_id": name, "endpoint": endpoint, "capabilities": list(capabilities)}
        self._key = Path(os.environ["TEKTON_CREDENTIAL_FILE"]).read_text().strip()
        self._log = log
        self._instance = str(uuid4())
        self._ready = False
        self._left = Event()

    def start(self) -> None:
        Thread(target=self._keep, daemon=True).start()

    def leave(self) -> None:
        """Say that it ends. Whoever is not heard is found dead by its lease."""
        self._left.set()
        try:
            for state in ("stopping", "stopped"):
                self._tell(f"/{self._name}/state", {"instance_uuid": self._instance, "state": state}, "PUT")
        except (OSError, RefusedError) as error:
            self._log(f"left without a word: {error}")

    def _keep(self) -> None:
        pause = 0.0
        while not self._left.wait(pause):
            try:
                pause = self._beat() if self._ready else self._join()
            except (OSError, RefusedError) as error:
                self._log(f"Tekton was not told: {error}")
                pause = AGAIN

    def _join(self) -> float:
        answer = self._tell("", {**self._is, "instance_uuid": self._instance, "forget_after": FORGOTTEN_AFTER})
        self._tell(f"/{self._name}/ready", {"instance_uuid": self._instance})
        self._ready = True
        self._log(f"registered as {self._instance}")
        return float(answer["lease"]["interval"])

    def _beat(self) -> float:
        answer = self._tell(f"/{self._name}/heartbeat", {"instance_uuid": self._instance})
        if answer["known"]:
            return float(answer["next_interval"])
        # Tekton has forgotten it: whoever comes then is another one.
        self._instance, self._ready = str(uuid4()), False
        return 0.0

    def _tell(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        return fetch(self._place + path, method, body, {"authorization": f"Bearer {self._key}"})
