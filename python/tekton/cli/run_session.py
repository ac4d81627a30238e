"""One `tekton run` in the foreground: a component that is there as long as somebody looks at it.

Three things are listened to at once, each in a thread of its own: the changes of the component, its output, and the
answer to our request to start it. All of it, and signals, come together in one queue.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from tekton.cli.client import Client, component_path
from tekton.cli.events import line
from tekton.cli.problems import DONE, FAILED, INTERRUPTED
from tekton.cli.render import say
from tekton.cli.run import tell_failure
from tekton.cli.unit_names import UnitNames
from tekton.cli.watch import Record, watch
from tekton.supervisor.logs import tail_and_cursor
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    DependencyError,
    SupervisionError,
    TektonError,
)

_LOOK_EVERY = 0.1
_LAST_NEWS = 5.0
"""Seconds within which it is heard that what was taken out has left."""
_RESTARTING = "restarting"
_ABSENT = ("unknown", None)
_ENDED = ("failed", "stopped", *_ABSENT)


class _Heard(NamedTuple):
    """`begun` (we hear of changes), `change`, `missed` (some were), `output`, `started`, `stop`, `gone`, or `lost`."""

    kind: str
    change: Record | None = None
    lines: tuple[str, ...] = ()
    error: TektonError | None = None


class RunSession:
    """A component from its start to its end; *entry* describes it, *log* is where it prints."""

    def __init__(self, client: Client, name: str, entry: dict[str, Any], log: Path) -> None:
        self._client = client
        self._units = UnitNames(client)
        self._name = name
        self._entry = entry
        self._advice = f"all that it has printed is in {log}"
        _, self._output = tail_and_cursor(log, 0)
        self._reader = threading.Thread(target=self._follow_output, daemon=True)
        self._heard: queue.SimpleQueue[_Heard] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._left = threading.Event()
        self._ours = False
        self._asked = 0

    def request_stop(self) -> None:
        """Stop it in order; when asked once more, kill it. May be called from another thread."""
        self._heard.put(_Heard("stop"))

    def run(self) -> int:
        """Stay until it has ended for good, and take it out; the exit status. Raises what the start is refused with."""
        _in_thread(self._follow_changes)
        try:
            return self._serve()
        finally:
            if self._ours:
                with suppress(TektonError):
                    self._client.delete(self._path("spec"), timeout=None)
                self._finish_output()

    def _serve(self) -> int:
        """Deal with what is heard until it is known how this ends."""
        while True:
            status = self._deal_with(self._heard.get())
            if status is not None:
                return status

    def _deal_with(self, heard: _Heard) -> int | None:
        match heard:
            case _Heard("change", change=dict(change)):
                name = self._units.of(change)
                self._tell(lambda: say(line(change, name)))
                return self._end_with(change["state"], change["reason"])
            case _Heard("missed"):
                return self._end_with(*self._state())
            case _Heard("started" | "lost", error=TektonError() as error):
                return self._refused(error)
            case _Heard("gone"):
                return INTERRUPTED if self._asked > 1 else DONE
        self._go_on(heard)
        return None

    def _go_on(self, heard: _Heard) -> None:
        match heard.kind:
            case "begun" if not self._asked:
                self._begin()
            case "output":
                self._tell(lambda: click.echo("\n".join(heard.lines)))
            case "stop":
                self._stop()

    def _begin(self) -> None:
        self._ours = True
        self._reader.start()
        _in_thread(self._start)

    def _stop(self) -> None:
        self._asked += 1
        if not self._ours:
            self._heard.put(_Heard("gone"))
        elif self._asked == 1:
            self._tell(lambda: say(f"stopping {self._name} (once more kills it)"))
            _in_thread(self._delete)
        else:
            self._tell(lambda: say(f"killing {self._name}"))
            _in_thread(self._kill)

    def _tell(self, say_it: Callable[[], None]) -> None:
        try:
            say_it()
        except OSError:
            if not self._asked:
                raise  # nobody reads any more; else, what must be done now is to stop it

    # How it ends

    def _end_with(self, state: str | None, reason: str | None) -> int | None:
        """The exit status when it has come to *state*; None when it goes on."""
        if self._asked or state not in ("failed", "stopped") or reason == _RESTARTING or self._is_coming_back():
            return None
        if state == "stopped":
            return DONE
        tell_failure(self._client, self._name, self._advice)
        return FAILED

    def _refused(self, error: TektonError) -> int | None:
        """The start has failed, or was not even tried."""
        if not isinstance(error, ComponentError | DependencyError | SupervisionError):
            self._ours = self._asked > 0
            raise error
        if self._asked or self._is_coming_back():
            return None
        tell_failure(self._client, self._name, self._advice, error)
        return FAILED

    def _is_coming_back(self) -> bool:
        """True when it lives, or will be started again; and while the control plane is away."""
        try:
            why = self._client.get(self._path("why"))
        except ComponentNotFoundError:
            return False
        except TektonError:
            return True
        plan = why["restart"]
        return why["state"] not in _ENDED or (plan is not None and plan["next_in"] is not None)

    def _state(self) -> tuple[str | None, str | None]:
        try:
            why = self._client.get(self._path("why"))
        except TektonError:
            return None, None
        return why["state"], why["reason"]

    def _path(self, action: str) -> str:
        return component_path(self._name, action)

    def _finish_output(self) -> None:
        self._ended.set()
        self._reader.join()
        rest = [line for heard in self._unheard() for line in heard.lines]
        rest += [*self._output.read(), *filter(None, [self._output.rest()])]
        self._output.close()
        if rest:
            self._tell(lambda: click.echo("\n".join(rest)))

    def _unheard(self) -> Iterator[_Heard]:
        with suppress(queue.Empty):
            while True:
                yield self._heard.get_nowait()

    # In threads

    def _follow_changes(self) -> None:
        first = True
        try:
            for piece in watch(self._client):
                if piece.kind == "snapshot":
                    self._heard.put(_Heard("begun" if first else "missed"))
                    first = False
                elif piece.change is not None and piece.change["component_id"] == self._name:
                    self._follow_change(piece.change)
        except TektonError as error:
            self._heard.put(_Heard("lost", error=error))

    def _follow_change(self, change: Record) -> None:
        if change["kind"] != "deregistered":
            self._heard.put(_Heard("change", change=change))
        elif self._asked:
            # What we have taken out ourselves; else it is the end of an earlier run.
            self._left.set()

    def _follow_output(self) -> None:
        while not self._ended.is_set():
            if lines := self._output.read():
                self._heard.put(_Heard("output", lines=tuple(lines)))
            else:
                self._ended.wait(_LOOK_EVERY)

    def _start(self) -> None:
        error = None
        try:
            self._client.put(self._path("spec"), {"wait": 1}, body=self._entry, timeout=None)
        except TektonError as failure:
            error = failure
        self._heard.put(_Heard("started", error=error))

    def _delete(self) -> None:
        state, _ = self._state()
        with suppress(TektonError):
            self._client.delete(self._path("spec"), timeout=None)
            if state not in _ABSENT:
                # Changes come on another connection than this answer: what it has brought about is told first.
                self._left.wait(_LAST_NEWS)
        self._heard.put(_Heard("gone"))

    def _kill(self) -> None:
        with suppress(TektonError):
            self._client.post(self._path("kill"), body={"signal": "KILL"})


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
