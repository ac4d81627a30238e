"""What is said to an agent and what it says, as the JSON of Agent2Agent 1.0 (`a2a.proto` as ProtoJSON).

A task is sent as a part with data, `{"task_type": …, "inputs": …}`, and the input `text`, if there is one, as a part
with text before it. What comes back is read by what is known of it; the rest is ignored.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from tekton.a2a.task import TaskState
from tekton.a2a.whole_numbers import with_integers
from tekton.mcp.tool_result import GarbageError, as_json

__all__ = ["Artifacts", "GarbledError", "Update", "message_to", "parts_of_answer", "parts_of_task", "read_update"]

MOST_ARTIFACTS: Final = 256
MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of all artifacts of a task, as JSON."""
MOST_GIVEN: Final = 4 * MOST_BYTES
"""Bytes of all that artifacts of one task have been, one after the other."""
MOST_TEXT: Final = 2000
RESULTS: Final = ("result.final", "result")
"""The artifact of one of these names is the result; the first that there is."""

_STATES: Final = {state.wire: state for state in TaskState}


class GarbledError(Exception):
    """An agent says what cannot be used. The text says why."""


class Update(NamedTuple):
    """Something that an agent has said of a task, or, without one, its whole answer.

    *status* is the status of the task, as it stands in the message; *artifacts* and how they go with those before:
    (artifact, append, last chunk).
    """

    task_id: str = ""
    context_id: str = ""
    state: TaskState | None = None
    status: Mapping[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    artifacts: tuple[tuple[Mapping[str, Any], bool, bool], ...] = ()
    answer: tuple[Any, ...] | None = None

    @property
    def text(self) -> str:
        """What it says to people, at most 2,000 characters."""
        message = self.status.get("message")
        parts = message.get("parts", ()) if isinstance(message, dict) else ()
        return " ".join(part["text"] for part in parts if isinstance(part.get("text"), str))[:MOST_TEXT]

    @property
    def progress(self) -> tuple[float, float | None] | None:
        """How far it is, and of what, where it is one of ours that says so."""
        told = self.metadata.get("progress")
        done, total = (told.get("done"), told.get("total")) if isinstance(told, dict) else (None, None)
        return (done, total if isinstance(total, float) else None) if isinstance(done, float) else None

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of the answer that it waits for, where it is one of ours that says so."""
        message = self.status.get("message")
        parts = message.get("parts", ()) if isinstance(message, dict) else ()
        data = [with_integers(part["data"]) for part in parts if "data" in part]
        schema = data[0].get("schema") if len(data) == 1 and isinstance(data[0], dict) else None
        return schema if isinstance(schema, dict) else None

    @property
    def content(self) -> Any:
        """What the message of its status carries; None if there is none."""
        message = self.status.get("message")
        return _content(message.get("parts", ())) if isinstance(message, dict) else None


def parts_of_task(task_type: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of the message with which a task begins."""
    text = inputs.get("text")
    said = [{"text": text}] if isinstance(text, str) else []
    return [*said, {"data": {"task_type": task_type, "inputs": dict(inputs)}, "mediaType": "application/json"}]


def parts_of_answer(answer: Any) -> list[dict[str, Any]]:
    """The parts of the message that answers a question."""
    return [{"text": answer}] if isinstance(answer, str) else [{"data": answer, "mediaType": "application/json"}]


def message_to(
    message_id: str, parts: list[dict[str, Any]], *, task_id: str = "", context_id: str = ""
) -> dict[str, Any]:
    """A message of ours. One of the same *message_id* is the same."""
    message = {"messageId": message_id, "role": "ROLE_USER", "parts": parts}
    named = {"taskId": task_id, "contextId": context_id}
    return message | {name: value for name, value in named.items() if value}


def read_update(response: Mapping[str, Any]) -> Update:
    """What *response* (a StreamResponse) says. One that says nothing of use is an empty update."""
    if "message" in response:
        return Update(answer=(_content(response["message"].get("parts", ())),))
    if "task" in response:
        return _of_task(response["task"])
    if "statusUpdate" in response:
        event = response["statusUpdate"]
        return _of_task(event, event.get("taskId", ""))
    if "artifactUpdate" in response:
        event = response["artifactUpdate"]
        piece = (event.get("artifact", {}), event.get("append", False), event.get("lastChunk", False))
        return Update(event.get("taskId", ""), event.get("contextId", ""), artifacts=(piece,))
    return Update()


def _of_task(task: Mapping[str, Any], task_id: str = "") -> Update:
    status = task.get("status", {})
    return Update(
        task_id or task.get("id", ""),
        task.get("contextId", ""),
        _STATES.get(status.get("state", "")),
        status,
        task.get("metadata", {}),
        tuple((artifact, False, True) for artifact in task.get("artifacts", ())),
    )


class Artifacts:
    """The artifacts of one task, put together from what comes of them. Raises GarbledError for more than it keeps."""

    def __init__(self) -> None:
        self._chunks: dict[str, list[list[Mapping[str, Any]]]] = {}
        self._names: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._growing = ""
        self._ready: dict[str, None] = {}
        self._given: dict[str, Any] = {}
        self._given_bytes = 0

    def take(self, artifact: Mapping[str, Any], append: bool, last: bool) -> None:
        """Take what has come of an artifact: the beginning, or what is to be appended; perhaps the *last* of it."""
        key = artifact.get("artifactId", "")
        parts = list(artifact.get("parts", ()))
        if not append or key not in self._chunks:
            self._chunks[key], self._sizes[key] = [], 0
        self._chunks[key].append(parts)
        self._sizes[key] += _size(parts)
        self._names[key] = (artifact.get("name") or self._names.get(key) or key)[:128]
        if len(self._chunks) > MOST_ARTIFACTS or sum(self._sizes.values()) > MOST_BYTES:
            raise GarbledError(f"it has more than {MOST_ARTIFACTS} artifacts, or {MOST_BYTES // 1024**2} MiB of them")
        if self._growing != key:
            self.settle()
        self._growing = key
        if last:
            self.settle()

    def settle(self) -> None:
        """Nothing more comes of the artifact that was the last."""
        if self._growing in self._chunks:
            self._ready[self._growing] = None
        self._growing = ""

    def whole(self) -> dict[str, Any]:
        """The artifacts that have become whole, or others, since this was called before, by name; not the result."""
        ready, self._ready = self._ready, {}
        given: dict[str, Any] = {}
        for key in ready:
            name, content = self._names[key], self._content(key)
            if name == self._result() or (name in self._given and self._given[name] == content):
                continue
            given[name] = content
            self._given_bytes += self._sizes[key]
        self._given |= given
        if self._given_bytes > MOST_GIVEN:
            raise GarbledError("its artifacts change without end")
        return given

    def result(self) -> tuple[Any, ...]:
        """The one that is the result, or the only one, or all by name; nothing, if there are none."""
        contents = {self._names[key]: self._content(key) for key in self._chunks}
        if (name := self._result()) is not None:
            return (contents[name],)
        if len(contents) == 1:
            return tuple(contents.values())
        return (contents,) if contents else ()

    def _result(self) -> str | None:
        return next((name for name in RESULTS if name in self._names.values()), None)

    def _content(self, key: str) -> Any:
        return _content(_joined(self._chunks[key]))


def _joined(chunks: Iterable[list[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The parts of *chunks*, one after the other; text that is appended to text goes on with it. O(their bytes)."""
    parts: list[Mapping[str, Any]] = []
    texts: list[str] = []
    for chunk in chunks:
        for number, part in enumerate(chunk):
            if texts and not (number == 0 and _is_text(part)):
                parts.append({"text": "".join(texts)})
                texts = []
            if _is_text(part):
                texts.append(part["text"])
            else:
                parts.append(part)
    return [*parts, {"text": "".join(texts)}] if texts else parts


def _is_text(part: Mapping[str, Any]) -> bool:
    return part.keys() == {"text"}


def _content(parts: Any) -> Any:
    contents = [_of_part(part) for part in parts]
    return contents[0] if len(contents) == 1 else contents or None


def _of_part(part: Mapping[str, Any]) -> Any:
    if "text" in part:
        return part["text"]
    if "data" in part:
        return with_integers(part["data"])
    return {name: part[name] for name in ("raw", "url", "mediaType", "filename") if name in part}


def _size(parts: list[Mapping[str, Any]]) -> int:
    try:
        return len(as_json(parts, MOST_BYTES).json)
    except GarbageError as error:
        raise GarbledError(f"an artifact cannot be kept: {error}") from None
