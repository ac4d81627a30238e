"""What a start waits for beyond its dependencies: the notes of the control plane, fetched while a tree is shown.

The change feed tells states; what a probe found last, or that memory is short, is no change. It is asked for from a
thread of its own, so that the tree never waits for an answer.
"""

import threading
from collections.abc import Callable, Mapping

from tekton.cli.client import Client
from tekton.utils.tekton_errors import TektonError

_LOOK_EVERY = 0.5
_ANSWER_WITHIN = 5.0


class Notes:
    """The newest note of every component. `stop` ends the thread; it may be called twice."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._notes: Mapping[str, tuple[str, str | None]] = {}
        self._enough = threading.Event()
        threading.Thread(target=self._run, name="notes", daemon=True).start()

    def of(self, name: str, state: str) -> str | None:
        """The note of the component *name*, if it was made in *state*: what was true before is not told."""
        seen, note = self._notes.get(name, (None, None))
        return note if seen == state else None

    def stop(self) -> None:
        """Ask no more."""
        self._enough.set()

    def _run(self) -> None:
        while not self._enough.wait(_LOOK_EVERY):
            try:
                views = self._client.get("/api/system", timeout=_ANSWER_WITHIN)["components"]
            except TektonError:
                continue  # it does not answer yet, or not at this moment
            self._notes = {view["component_id"]: (view["state"], view["note"]) for view in views}


NoteOf = Callable[[str, str], str | None]
"""Tells the note of a component in a state."""
