"""The one exception tree of Tekton.

    TektonError
    ├── ConfigurationError            mistakes
    ├── ComponentError                component_id, reason
    │   └── StartTimeoutError         timeout, waiting_for
    ├── DependencyError               component_id, failed_dependencies, cycle
    ├── RegistryError
    │   ├── InvalidRegistrationError  field, problem
    │   │   └── InvalidIdError        value, nearest
    │   ├── ComponentNotFoundError    component_id, nearest
    │   ├── ComponentExistsError      component_id, instance_uuid
    │   ├── ComponentConfiguredError  component_id
    │   ├── StaleInstanceError        component_id, instance_uuid
    │   ├── IllegalTransitionError    component_id, current, requested, legal
    │   └── CursorExpiredError
    ├── StorageError
    │   ├── StorageFullError          undone: the change was not made
    │   ├── StorageBusyError          waiting, retry_after: too much waits for the disk; nothing was changed
    │   ├── StorageUnknownError       outcome, which is unknown; the store has stopped
    │   ├── StorageCorruptError       path, evidence
    │   ├── StorageLockedError        path, owner_pid
    │   ├── SchemaVersionError        path, found, supported
    │   ├── KeyFileError              path, problem
    │   ├── AuditBrokenError          path, problems
    │   └── BackupError               path, problem
    │       └── BackupExistsError
    ├── SupervisionError
    │   ├── SpawnError                name, reason
    │   ├── PortInUseError            port, owner
    │   └── AddressError              host, port, problem
    ├── TransportError                url, reason: the control plane or a component could not be reached
    │   ├── NoUsableInstanceError     component_id, instances
    │   └── AllInstancesFailedError   component_id, causes
    ├── DegradationError
    │   ├── CircuitOpenError          component_id, state, retry_after: calls are kept away from what keeps failing
    │   ├── BulkheadFullError         component_id, limit, waiting
    │   ├── CallTimeoutError          component_id, timeout
    │   ├── NoFallbackAvailableError  capability, reasons, causes
    │   └── FallbackCycleError        capability, cycle
    ├── HistoryUnknownError           at, since: nothing is known of that time
    ├── MetricError
    │   ├── InvalidMetricError        metric, problem
    │   ├── MetricExistsError         metric, other
    │   └── MetricNotFoundError       metric, nearest
    ├── MessageError
    │   ├── MalformedMessageError     problem, position: no JSON, or JSON with two meanings
    │   ├── InvalidMessageError       pointer, problem
    │   ├── InvalidContentError       pointer, problem
    │   └── NoHandlerError            message_type, sender: nobody takes such messages
    ├── ToolError                     tool_id
    │   ├── ToolNotFoundError         nearest
    │   ├── ToolExistsError
    │   ├── AmbiguousToolError        candidates: the tools of that name
    │   ├── InvalidArgumentsError     pointer, problem, nearest
    │   ├── ToolBusyError             limit, waiting
    │   ├── ToolTimeoutError          timeout
    │   ├── NobodyToAskError
    │   └── ToolFailedError           reason
    ├── AgentError                    agent_id
    │   ├── InvalidAgentError         field, problem
    │   ├── AgentNotFoundError        nearest
    │   ├── AgentExistsError
    │   ├── NoAgentAvailableError     wanted, unusable: agents that could do it, if they were usable
    │   └── AgentUnreachableError     reason
    ├── ConversationError             conversation_id
    │   ├── InvalidConversationError  field, problem
    │   ├── ConversationNotFoundError
    │   ├── ConversationExistsError
    │   ├── NotParticipantError       participant
    │   └── ConversationFullError     what, limit
    ├── TaskError                     task_id
    │   ├── InvalidTaskError          field, problem
    │   ├── TaskNotFoundError
    │   ├── TaskExistsError
    │   ├── TaskStateError            state, change: what cannot be done with a task in that state
    │   ├── TaskConflictError         expected, found: the numbers of its last event
    │   ├── StaleLeaseError           epoch, current: somebody else works on the task by now
    │   ├── TaskCycleError            cycle: of its parts, each depends on the next
    │   ├── TaskBudgetError           what, limit
    │   ├── StepUnknownError          step: begun, not to be repeated, and nobody knows what came of it
    │   ├── TaskFailedError           failed, reason
    │   ├── TaskTimeoutError
    │   ├── TaskCanceledError         reason
    │   └── TaskRejectedError         reason
    ├── BusError
    │   ├── InvalidSubjectError       subject, problem
    │   ├── MessageTooLargeError      size, limit
    │   ├── TooManyHopsError          hops, limit
    │   ├── MessageExpiredError       message_id: its deadline has passed
    │   ├── NoRespondersError         subject
    │   ├── ReplyTimeoutError         subject, timeout
    │   ├── SlowConsumerError         pattern, waiting
    │   ├── TooManySubscriptionsError limit
    │   ├── BusBusyError              waited
    │   ├── PublishUnknownError       message_id, waited: no receipt came
    │   ├── StreamNotFoundError       stream, nearest
    │   ├── StreamOverlapError        stream, other, subject
    │   ├── StreamConfiguredError     stream
    │   ├── ConsumerNotFoundError     stream, consumer
    │   └── ConsumerExistsError       stream, consumer: with other settings
    ├── IdempotencyError
    │   ├── InvalidIdempotencyKeyError
    │   ├── IdempotencyKeyReusedError
    │   ├── RequestRunningError
    │   ├── OutcomeUnknownError       begun_at: a request with a key, of which nobody knows what came of it
    │   ├── AnswerNotKeptError        answered: the status
    │   └── TooManyIdempotencyKeysError  keys
    ├── InvalidTokenError             reason, for the log only
    ├── KeyLimitError                 subject, limit
    ├── KeyRotationError
    ├── ApiKeyNotFoundError           key_id
    ├── TraceNotFoundError            trace_id
    └── ProblemError                  status, code: an HTTP API refused for a reason that has no class here

This module imports nothing of Tekton, so that every layer (the native extension included) can raise from
the same tree. An error carries fields and builds its own sentence; `code` is the stable name that problem
documents, exit codes and `docs/reference/errors.md` use, `hint` the next thing to try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class TektonError(Exception):
    """Base of every error that Tekton raises on purpose.

    `relayed` marks what another component has answered to a call of ours: whoever gets it from us need not try again.
    """

    code: str = "internal"
    hint: str | None = None
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a configuration file.

    `line` and `column` count from 1; both are 0 when the mistake is not in a file (an environment variable,
    a contradiction between two files). `pointer` is a JSON pointer into the document.
    """

    source: str
    line: int
    column: int
    pointer: str
    problem: str
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        advice = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}: {self.problem}{advice}"


class ConfigurationError(TektonError):
    """The configuration is wrong; `mistakes` holds all that is wrong with it, not just the first."""

    code = "config_invalid"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class ComponentError(TektonError):
    """A component failed to start, or failed while it was asked to do something."""

    code = "component_failed"

    def __init__(self, component_id: str, reason: str) -> None:
        self.component_id = component_id
        self.reason = reason
        super().__init__(f"{component_id}: {reason}")


class StartTimeoutError(ComponentError):
    """A component did not become usable within its start timeout (seconds)."""

    code = "start_timeout"

    def __init__(self, component_id: str, timeout: float, waiting_for: str = "readiness") -> None:
        self.timeout = timeout
        self.waiting_for = waiting_for
        super().__init__(component_id, f"not ready after {timeout:g} s (waiting for {waiting_for})")


class DependencyError(TektonError):
    """A component cannot start because of what it depends on.

    `failed_dependencies` names them; `cycle` is one concrete cycle in edge order when that is the cause.
    """

    code = "dependency_failed"

    def __init__(
        self, component_id: str, failed_dependencies: Sequence[str], reason: str = "", cycle: Sequence[str] = ()
    ) -> None:
        self.component_id = component_id
        self.failed_dependencies = list(failed_dependencies)
        self.cycle = list(cycle)
        self.reason = reason or f"{', '.join(self.failed_dependencies)} not usable"
        super().__init__(f"{component_id} cannot start: {self.reason}")


class RegistryError(TektonError):
    """Base of what the component registry refuses."""

    code = "registry"


class InvalidRegistrationError(RegistryError):
    """A registration has a field that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_registration"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field.lstrip('/').replace('/', '.')}: {problem}")


class InvalidIdError(InvalidRegistrationError):
    """An id that does not follow the naming rule; `nearest` is the closest one that does, if there is one."""

    code = "invalid_id"

    def __init__(self, field: str, value: str, nearest: str | None) -> None:
        self.value = value
        self.nearest = nearest
        if nearest:
            self.hint = f"use {nearest!r}"
        super().__init__(field, f"{value!r} is not a valid id (lower-case letters, digits, '-' and '_')")


class ComponentNotFoundError(RegistryError):
    """No such component (or no such instance of it)."""

    code = "component_not_found"

    def __init__(self, component_id: str, nearest: str | None = None) -> None:
        self.component_id = component_id
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"no component {component_id!r}")


class ComponentExistsError(RegistryError):
    """Another live instance holds the component id, and no more instances are allowed."""

    code = "component_exists"
    hint = "stop the other instance, or register with a larger max_instances"

    def __init__(self, component_id: str, instance_uuid: str) -> None:
        self.component_id = component_id
        self.instance_uuid = instance_uuid
        super().__init__(f"{component_id} already has a live instance {instance_uuid}")


class ComponentConfiguredError(RegistryError):
    """The component is part of the configuration; it cannot be put in or taken out beside that."""

    code = "component_configured"
    hint = "change components.json, then tekton reload"

    def __init__(self, component_id: str) -> None:
        self.component_id = component_id
        super().__init__(f"{component_id} is part of the configuration")


class StaleInstanceError(RegistryError):
    """The caller speaks for an instance that has been replaced or was never registered."""

    code = "stale_instance"
    hint = "register again to obtain a new instance"

    def __init__(self, component_id: str, instance_uuid: str) -> None:
        self.component_id = component_id
        self.instance_uuid = instance_uuid
        super().__init__(f"{instance_uuid} is not an instance of {component_id}")


class TooManyHeartbeatsError(RegistryError):
    """An instance sends heartbeats far faster than it is asked to. This one did not count; those before it do."""

    code = "too_many_heartbeats"
    hint = "send the next heartbeat when the reply to the last one says so"

    def __init__(self, component_id: str, limit: int, interval: float) -> None:
        self.component_id = component_id
        self.limit = limit
        self.interval = interval
        super().__init__(f"{component_id} sends more than {limit} heartbeats in {interval:g} s")


class IllegalTransitionError(RegistryError):
    """A state change that the lifecycle table does not contain. Nothing was changed."""

    code = "illegal_transition"

    def __init__(self, component_id: str, current: str, requested: str, legal: Sequence[str]) -> None:
        self.component_id = component_id
        self.current = current
        self.requested = requested
        self.legal = list(legal)
        self.hint = f"legal from {current}: {', '.join(self.legal) or 'nothing'}"
        super().__init__(f"{component_id}: {current} -> {requested} is not a legal transition")


class CursorExpiredError(RegistryError):
    """A list cursor or watch position that is no longer known; start again without it."""

    code = "cursor_expired"
    hint = "start again without it"


class HistoryUnknownError(TektonError):
    """Nothing is known (any more) of what was at a time. `at` and `since`, from when on it is, are in UTC."""

    code = "history_unknown"
    hint = "ask about a later time; tekton.monitoring.history_age and history_size say how long telemetry is kept"

    def __init__(self, at: str, since: str) -> None:
        self.at = at
        self.since = since
        super().__init__(f"nothing is known of {at}: there is data since {since}")


class StorageError(TektonError):
    """Base of storage failures."""

    code = "storage"


class StorageFullError(StorageError):
    """No room to commit. The change was undone; reads, heartbeats and observations go on."""

    code = "storage_full"
    hint = "free disk space; nothing has to be restarted"


class StorageBusyError(StorageError):
    """More changes wait for the disk than there is room for. Nothing was changed; ask again later.

    `waiting` is how many wait, `retry_after` the seconds after which asking again makes sense.
    """

    code = "storage_busy"
    hint = "send changes more slowly, or use a faster disk"

    def __init__(self, waiting: int, retry_after: float = 1.0) -> None:
        self.waiting = waiting
        self.retry_after = retry_after
        super().__init__(f"{waiting} changes wait for the disk already")


class StorageUnknownError(StorageError):
    """A commit failed in a way that leaves its outcome open. The store accepts nothing more."""

    code = "storage_unknown"
    hint = "read the component again after the control plane has restarted"

    def __init__(self, message: str) -> None:
        self.outcome = "unknown"
        super().__init__(message)


class StorageCorruptError(StorageError):
    """Stored data is damaged, or acknowledged changes are missing. Nothing was served from it."""

    code = "storage_corrupt"
    hint = "tekton restore BACKUP, or move the data directory away and start anew"

    def __init__(self, path: str, evidence: str) -> None:
        self.path = path
        self.evidence = evidence
        super().__init__(f"{path}: {evidence}")


class StorageLockedError(StorageError):
    """Another process owns the data directory."""

    code = "storage_locked"

    def __init__(self, path: str, owner_pid: int | None) -> None:
        self.path = path
        self.owner_pid = owner_pid
        owner = f"process {owner_pid}" if owner_pid else "another process"
        super().__init__(f"{path} is in use by {owner}")


class SchemaVersionError(StorageError):
    """The database was written by a newer Tekton, or by something else; it was not touched."""

    code = "schema_version"

    def __init__(self, path: str, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(f"{path} has schema {found}; this Tekton reads up to {supported}")


class KeyFileError(StorageError):
    """The file of the signing keys cannot be used, or must not be: others could have read it. Nothing was changed."""

    code = "key_file"
    hint = (
        "make the file yours alone (chmod 600), or move it away; without it new keys are made, and old tokens are void"
    )

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class BackupError(StorageError):
    """A backup cannot be written to a place, or restored from it. Nothing was changed."""

    code = "backup"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class AuditBrokenError(StorageError):
    """The audit log is not what was written. `problems` says what is wrong with it."""

    code = "audit_broken"
    hint = "keep a copy of the data directory, and find out who could write to it"

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = list(problems)
        super().__init__("\n".join((f"{path}: the audit log is not what was written", *self.problems)))


class BackupExistsError(BackupError):
    """There is something already where a backup was to be written. It was left alone."""

    code = "backup_exists"
    hint = "choose another name, or remove what is there"

    def __init__(self, path: str) -> None:
        super().__init__(path, "exists already")


class SupervisionError(TektonError):
    """Base of failures to run a child process."""

    code = "supervision"


class SpawnError(SupervisionError):
    """A process could not be started at all (missing, not executable, wrong working directory)."""

    code = "spawn_failed"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class PortInUseError(SupervisionError):
    """A port is taken. `owner` describes the process that listens there, when it can be known."""

    code = "port_in_use"

    def __init__(self, port: int, owner: str | None = None) -> None:
        self.port = port
        self.owner = owner
        super().__init__(f"port {port} is in use" + (f" by {owner}" if owner else ""))


class AddressError(SupervisionError):
    """An address that cannot be listened on, now or later: it is not this machine's, or not allowed."""

    code = "address_invalid"

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host = host
        self.port = port
        self.problem = problem
        super().__init__(f"cannot listen on {host} port {port}: {problem}")


class TransportError(TektonError):
    """The control plane or a component could not be reached, or answered something unreadable."""

    code = "unreachable"

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}")


class NoUsableInstanceError(TransportError):
    """The component is known, but none of its instances can be called now. `instances` says of each why not."""

    code = "no_usable_instance"

    def __init__(self, component_id: str, instances: Sequence[str]) -> None:
        self.component_id = component_id
        self.instances = list(instances)
        super().__init__(component_id, f"no instance can be called ({'; '.join(self.instances) or 'there is none'})")


class AllInstancesFailedError(TransportError):
    """A call was tried on several instances, or several times, and failed each time. `causes` says how."""

    code = "all_instances_failed"

    def __init__(self, component_id: str, causes: Sequence[str]) -> None:
        self.component_id = component_id
        self.causes = list(causes)
        super().__init__(component_id, f"every attempt failed: {'; '.join(self.causes)}")


class DegradationError(TektonError):
    """Base of what keeps a call from a component that fails, or from which there is nothing to fall back to."""

    code = "degradation"


class CircuitOpenError(DegradationError):
    """A component keeps failing, so it is not called now. Nothing was sent.

    `state` is that of its circuit breaker, `retry_after` the seconds until it is tried again; None while somebody
    holds the breaker open.
    """

    code = "circuit_open"

    def __init__(self, component_id: str, state: str = "open", retry_after: float | None = None) -> None:
        self.component_id = component_id
        self.state = state
        self.retry_after = retry_after
        again = "" if retry_after is None else f", tried again in {retry_after:.3g} s"
        super().__init__(f"{component_id}: circuit {state.replace('_', ' ')}{again}")


class BulkheadFullError(DegradationError):
    """As many calls of a component run (`limit`) and wait (`waiting`) as may. Nothing was sent."""

    code = "bulkhead_full"
    hint = "call it less often at once, or allow more calls"

    def __init__(self, component_id: str, limit: int, waiting: int = 0) -> None:
        self.component_id = component_id
        self.limit = limit
        self.waiting = waiting
        super().__init__(f"{component_id}: {limit} calls run already" + (f", {waiting} wait" if waiting else ""))


class CallTimeoutError(DegradationError):
    """A call was not over within its time, in seconds. It may have been carried out."""

    code = "call_timeout"

    def __init__(self, component_id: str, timeout: float) -> None:
        self.component_id = component_id
        self.timeout = timeout
        super().__init__(f"{component_id}: no answer within {timeout:.3g} s")


class NoFallbackAvailableError(DegradationError):
    """Neither the component that was to be called nor any of its fallbacks has done it.

    `reasons` says of each component why not, in the order in which they were tried. `causes` are the errors
    themselves; they stay in the process.
    """

    code = "no_fallback"

    def __init__(
        self, capability: str, reasons: Mapping[str, str], causes: Mapping[str, BaseException] | None = None
    ) -> None:
        self.capability = capability
        self.reasons = dict(reasons)
        self._causes = dict(causes or {})
        super().__init__(f"nothing provides {capability}: {'; '.join(self.reasons.values()) or 'nobody was tried'}")

    @property
    def causes(self) -> Mapping[str, BaseException]:
        """Component -> what it failed with; empty where the error has come over HTTP."""
        return self._causes


class FallbackCycleError(DegradationError):
    """A fallback would lead back to the component that it stands in for. It was not registered.

    `cycle` names the components, the first one again at the end.
    """

    code = "fallback_cycle"

    def __init__(self, capability: str, cycle: Sequence[str]) -> None:
        self.capability = capability
        self.cycle = list(cycle)
        super().__init__(f"fallbacks for {capability} go in a circle: {' -> '.join(self.cycle)}")


class MetricError(TektonError):
    """Base of what is refused about a metric. Nothing was changed."""

    code = "metric"


class InvalidMetricError(MetricError):
    """A metric cannot be declared so, or its value or labels cannot be recorded."""

    code = "invalid_metric"

    def __init__(self, metric: str, problem: str) -> None:
        self.metric = metric
        self.problem = problem
        super().__init__(f"metric {metric!r}: {problem}")


class MetricExistsError(MetricError):
    """Another metric has the name already, or exposes samples under the same name."""

    code = "metric_exists"

    def __init__(self, metric: str, other: str) -> None:
        self.metric = metric
        self.other = other
        what = "otherwise" if metric == other else f"as {other!r}, or with samples of the same name"
        super().__init__(f"metric {metric!r} is declared already, {what}")


class MetricNotFoundError(MetricError):
    """There is no such metric."""

    code = "metric_not_found"

    def __init__(self, metric: str, nearest: str | None = None) -> None:
        self.metric = metric
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"no metric {metric!r}")


class MessageError(TektonError):
    """Base of what is refused about a message."""

    code = "message"


class MalformedMessageError(MessageError):
    """The text of a message is not JSON, or JSON that two readers could understand differently.

    `position` is the place of the byte at which that was noticed.
    """

    code = "malformed_message"

    def __init__(self, problem: str, position: int) -> None:
        self.problem = problem
        self.position = position
        super().__init__(f"malformed message, at byte {position}: {problem}")


class InvalidMessageError(MessageError):
    """A member of a message is missing, unknown, or not what it should be. `pointer` is its JSON pointer."""

    code = "invalid_message"

    def __init__(self, pointer: str, problem: str) -> None:
        self.pointer = pointer
        self.problem = problem
        super().__init__(f"{pointer} of the message: {problem}")


class InvalidContentError(MessageError):
    """Content is not of the modality that it claims to be. `pointer` leads to what is wrong with it."""

    code = "invalid_content"

    def __init__(self, pointer: str, problem: str) -> None:
        self.pointer = pointer
        self.problem = problem
        super().__init__(f"{pointer}: {problem}" if pointer else problem)


class NoHandlerError(MessageError):
    """Nobody here takes such messages."""

    code = "no_handler"
    hint = "name a tool in metadata.tool, or send it to a component that takes such messages"

    def __init__(self, message_type: str, sender: str) -> None:
        self.message_type = message_type
        self.sender = sender
        super().__init__(f"there is no handler for this {message_type} of {sender}")


class ToolError(TektonError):
    """Base of what can go wrong with a tool. `tool_id` says with which."""

    code = "tool"

    def __init__(self, tool_id: str, problem: str) -> None:
        self.tool_id = tool_id
        super().__init__(problem)


class ToolNotFoundError(ToolError):
    """There is no tool of that id."""

    code = "tool_not_found"

    def __init__(self, tool_id: str, nearest: str | None = None) -> None:
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(tool_id[:255], f"there is no tool {tool_id[:255]!r}")


class ToolExistsError(ToolError):
    """There is a tool of that id already. It was left as it is."""

    code = "tool_exists"
    hint = "choose another id, or register it with replace=True"

    def __init__(self, tool_id: str) -> None:
        super().__init__(tool_id, f"there is a tool {tool_id} already")


class AmbiguousToolError(ToolError):
    """Several components have a tool of that name. `candidates` are the ids of those tools."""

    code = "ambiguous_tool"

    def __init__(self, tool_id: str, candidates: Sequence[str]) -> None:
        self.candidates = list(candidates[:20])
        self.hint = f"use one of {', '.join(self.candidates)}"
        super().__init__(tool_id, f"{len(candidates)} components have a tool {tool_id}")


class InvalidArgumentsError(ToolError):
    """The arguments are not those that the tool takes. It was not called. `pointer` leads to what is wrong."""

    code = "invalid_arguments"

    def __init__(self, tool_id: str, pointer: str, problem: str, nearest: str | None = None) -> None:
        self.pointer = pointer
        self.problem = problem
        if nearest:
            self.nearest = nearest
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(tool_id, f"{pointer or 'the arguments'}: {problem}")


class ToolBusyError(ToolError):
    """As many calls of the tool run as may (`limit`), and no more may wait (`waiting` do). It was not called."""

    code = "tool_busy"
    hint = "call it less often at once, or allow more calls"

    def __init__(self, tool_id: str, limit: int, waiting: int) -> None:
        self.limit = limit
        self.waiting = waiting
        super().__init__(tool_id, f"{tool_id}: {limit} calls run and {waiting} wait")


class ToolTimeoutError(ToolError):
    """A call was not over in time (`timeout`, seconds). What it has done by then is not undone."""

    code = "tool_timeout"

    def __init__(self, tool_id: str, timeout: float) -> None:
        self.timeout = round(timeout, 3)
        super().__init__(tool_id, f"{tool_id} was not done within {timeout:.3g} s")


class NobodyToAskError(ToolError):
    """A tool has a question for its caller, and its caller cannot be asked."""

    code = "nobody_to_ask"
    hint = "call it where questions can be answered, or give it all that it needs"

    def __init__(self, tool_id: str, question: str) -> None:
        self.question = question[:500]
        super().__init__(tool_id, f"{tool_id} asks {question[:500]!r}, and nobody is there to answer")


class ToolFailedError(ToolError):
    """A call has raised, or returned what cannot be passed on."""

    code = "tool_failed"

    def __init__(self, tool_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(tool_id, f"{tool_id} failed: {reason}")


class AgentError(TektonError):
    """Base of what can go wrong with an agent. `agent_id` says with which; it is empty where that is not known."""

    code = "agent"

    def __init__(self, agent_id: str, problem: str) -> None:
        self.agent_id = agent_id
        super().__init__(problem)


class InvalidAgentError(AgentError):
    """An agent is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_agent"

    def __init__(self, agent_id: str, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(agent_id, f"{field} of agent {agent_id}: {problem}")


class AgentNotFoundError(AgentError):
    """There is no agent of that id."""

    code = "agent_not_found"

    def __init__(self, agent_id: str, nearest: str | None = None) -> None:
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(agent_id[:128], f"there is no agent {agent_id[:128]!r}")


class AgentExistsError(AgentError):
    """There is an agent of that id already. It was left as it is."""

    code = "agent_exists"
    hint = "choose another id, or register it with replace=True"

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id, f"there is an agent {agent_id} already")


class NoAgentAvailableError(AgentError):
    """No usable agent can do what is wanted. `unusable` names some that could, if they were usable."""

    code = "no_agent_available"

    def __init__(self, wanted: str, unusable: Sequence[str] = ()) -> None:
        self.wanted = wanted
        self.unusable = list(unusable[:20])
        if self.unusable:
            self.hint = f"not usable at the moment: {', '.join(self.unusable)}"
        super().__init__("", f"no agent is available for {wanted}")


class AgentUnreachableError(AgentError):
    """An agent is known, and there is no way to it at the moment."""

    code = "agent_unreachable"

    def __init__(self, agent_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(agent_id, f"agent {agent_id} cannot be reached: {reason}")


class ConversationError(TektonError):
    """Base of what can go wrong with a conversation. `conversation_id` says with which."""

    code = "conversation"

    def __init__(self, conversation_id: str, problem: str) -> None:
        self.conversation_id = conversation_id
        super().__init__(problem)


class InvalidConversationError(ConversationError):
    """A conversation is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_conversation"

    def __init__(self, conversation_id: str, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(conversation_id, f"{field} of conversation {conversation_id}: {problem}")


class ConversationNotFoundError(ConversationError):
    """There is no conversation of that id, or none that the caller may know of."""

    code = "conversation_not_found"

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id[:255], f"there is no conversation {conversation_id[:255]!r}")


class ConversationExistsError(ConversationError):
    """There is a conversation of that id already. It was left as it is."""

    code = "conversation_exists"
    hint = "take it up with Conversation.resume, or choose another id"

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id, f"there is a conversation {conversation_id} already")


class NotParticipantError(ConversationError):
    """Somebody speaks in a conversation in which he does not take part. Nothing was added to it."""

    code = "not_participant"
    hint = "add_participant lets him take part"

    def __init__(self, conversation_id: str, participant: str) -> None:
        self.participant = participant
        super().__init__(conversation_id, f"{participant} takes no part in conversation {conversation_id}")


class ConversationFullError(ConversationError):
    """A conversation has as much of something (`what`) as it may have (`limit`). Nothing was added to it."""

    code = "conversation_full"

    def __init__(self, conversation_id: str, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(conversation_id, f"conversation {conversation_id} may have {limit} {what}, and no more")


class TaskError(TektonError):
    """Base of what can go wrong with a task. `task_id` says with which; it is empty where there is none yet."""

    code = "task"

    def __init__(self, task_id: str, problem: str) -> None:
        self.task_id = task_id
        super().__init__(problem)


class InvalidTaskError(TaskError):
    """A task is described by something that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_task"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__("", f"{field} of a task: {problem}")


class TaskNotFoundError(TaskError):
    """There is no task of that id, or none that the caller may know of."""

    code = "task_not_found"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id[:128], f"there is no task {task_id[:128]!r}")


class TaskExistsError(TaskError):
    """There is a task of that id already. It was left as it is."""

    code = "task_exists"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id, f"there is a task {task_id} already")


class TaskStateError(TaskError):
    """Something (`change`) cannot be done with a task that is in that `state`. Nothing was changed."""

    code = "task_state"

    def __init__(self, task_id: str, state: str, change: str) -> None:
        self.state = state
        self.change = change
        super().__init__(task_id, f"task {task_id} is {state}: {change} is not possible")


class TaskConflictError(TaskError):
    """A task has gone on since it was looked at: its last event is not the expected one. Nothing was changed."""

    code = "task_conflict"
    hint = "look at the task again"

    def __init__(self, task_id: str, expected: int, found: int) -> None:
        self.expected = expected
        self.found = found
        super().__init__(task_id, f"task {task_id} has {found} events, not {expected}")


class StaleLeaseError(TaskError):
    """Somebody writes for a task that is not, or no longer, his to work on. Nothing was changed."""

    code = "stale_lease"

    def __init__(self, task_id: str, epoch: int, current: int) -> None:
        self.epoch = epoch
        self.current = current
        super().__init__(task_id, f"lease {epoch} of task {task_id} is over; the last one was {current}")


class TaskCycleError(TaskError):
    """Parts of a task depend on each other in a circle (`cycle`). Nothing was begun."""

    code = "task_cycle"

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = list(cycle)
        super().__init__("", f"tasks that depend on each other in a circle: {' -> '.join([*cycle, *cycle[:1]])}")


class TaskBudgetError(TaskError):
    """A task has used up as much of something (`what`) as it may (`limit`)."""

    code = "task_budget"

    def __init__(self, task_id: str, what: str, limit: float) -> None:
        self.what = what
        self.limit = limit
        super().__init__(task_id, f"task {task_id} may use {limit:g} {what}, and no more")


class StepUnknownError(TaskError):
    """A step that must not be repeated was begun, and nobody knows what came of it."""

    code = "step_unknown"
    hint = "look at what the step does for other systems; retry_task does it again"

    def __init__(self, task_id: str, step: str) -> None:
        self.step = step
        super().__init__(task_id, f"step {step!r} of task {task_id} was begun, and what came of it is not known")


class TaskFailedError(TaskError):
    """A task was not done. `failed` is the code of what went wrong."""

    code = "task_failed"

    def __init__(self, task_id: str, failed: str, reason: str) -> None:
        self.failed = failed
        self.reason = reason
        super().__init__(task_id, f"task {task_id} has failed: {reason}")


class TaskTimeoutError(TaskError):
    """A task was not done when its deadline came."""

    code = "task_timeout"

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id, f"task {task_id} was not done before its deadline")


class TaskCanceledError(TaskError):
    """A task was called off."""

    code = "task_canceled"

    def __init__(self, task_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(task_id, f"task {task_id} was canceled{': ' if reason else ''}{reason}")


class TaskRejectedError(TaskError):
    """An agent will not do what a task wants. Handlers raise it, too."""

    code = "task_rejected"

    def __init__(self, task_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(task_id, f"task {task_id} was rejected{': ' if reason else ''}{reason}")


class BusError(TektonError):
    """Something that the message bus did not do."""

    code = "bus_error"


class InvalidSubjectError(BusError):
    """A text that is no subject, or no pattern of subjects."""

    code = "invalid_subject"
    hint = "subjects are tokens with dots between them; in patterns * is one token, and a last > all that follow"

    def __init__(self, subject: str, problem: str) -> None:
        self.subject = subject
        self.problem = problem
        super().__init__(f"{subject[:64]!r} {problem}")


class MessageTooLargeError(BusError):
    """A message of `size` bytes where `limit` are allowed."""

    code = "message_too_large"
    hint = "let large content travel by reference: store it somewhere, and send its address"

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"a message of {size} bytes, where {limit} are allowed")


class TooManyHopsError(BusError):
    """A message that more than `limit` messages have caused, one after the other: somebody answers himself."""

    code = "too_many_hops"
    hint = "look which components answer one another without an end"

    def __init__(self, hops: int, limit: int) -> None:
        self.hops = hops
        self.limit = limit
        super().__init__(f"{hops} messages have caused one another, where {limit} may")


class MessageExpiredError(BusError):
    """The deadline of a message had passed before anything was done with it."""

    code = "message_expired"

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        super().__init__(f"the deadline of message {message_id} has passed")


class NoRespondersError(BusError):
    """A request to a subject to which nobody listens."""

    code = "no_responders"
    hint = "start the component that answers it"

    def __init__(self, subject: str) -> None:
        self.subject = subject
        super().__init__(f"nobody listens to {subject}")


class ReplyTimeoutError(BusError):
    """No answer to a request within its time. Whether something was done is not known."""

    code = "reply_timeout"

    def __init__(self, subject: str, timeout: float) -> None:
        self.subject = subject
        self.timeout = timeout
        super().__init__(f"no answer from {subject} within {timeout:g} s")


class SlowConsumerError(BusError):
    """A subscriber did not read what waited for it; it was cut, with `waiting` messages unread."""

    code = "slow_consumer"
    hint = "read faster, subscribe to less, or choose a policy that drops"

    def __init__(self, pattern: str, waiting: int) -> None:
        self.pattern = pattern
        self.waiting = waiting
        super().__init__(f"the subscription to {pattern} was ended: {waiting} messages were not read")


class TooManySubscriptionsError(BusError):
    """As many subscriptions as one may have."""

    code = "too_many_subscriptions"
    hint = "one pattern with wildcards can stand for many subjects"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"there are {limit} subscriptions already, as many as may be")


class BusBusyError(BusError):
    """The disk does not keep up with what is published. Nothing was stored."""

    code = "bus_busy"
    hint = "publish it again later, under the same message_id"

    def __init__(self, waited: float) -> None:
        self.waited = waited
        super().__init__(f"the message waited {waited:g} s for the disk, and was not stored")


class PublishUnknownError(BusError):
    """A message was sent to the control plane, and no receipt came. It may have been published or not."""

    code = "publish_unknown"
    hint = "publish it again under the same message_id: a stream stores it once"

    def __init__(self, message_id: str, waited: float) -> None:
        self.message_id = message_id
        self.waited = waited
        super().__init__(f"no receipt for message {message_id} within {waited:.3g} s: was it published?")


class StreamNotFoundError(BusError):
    """There is no stream of that name."""

    code = "stream_not_found"

    def __init__(self, stream: str, nearest: str | None = None) -> None:
        self.stream = stream
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"there is no stream {stream[:64]!r}")


class StreamOverlapError(BusError):
    """A subject that one stream is to take is another's already."""

    code = "stream_overlap"
    hint = "choose narrower patterns, or delete the other stream"

    def __init__(self, stream: str, other: str, subject: str) -> None:
        self.stream = stream
        self.other = other
        self.subject = subject
        super().__init__(f"the stream {stream} cannot take {subject}: the stream {other} takes it")


class StreamConfiguredError(BusError):
    """A change to a stream that stands in the configuration."""

    code = "stream_configured"
    hint = "change it in tekton.json, and reload"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"the stream {stream} stands in the configuration")


class ConsumerNotFoundError(BusError):
    """The stream has no consumer of that name."""

    code = "consumer_not_found"

    def __init__(self, stream: str, consumer: str) -> None:
        self.stream = stream
        self.consumer = consumer
        super().__init__(f"the stream {stream} has no consumer {consumer[:64]!r}")


class ConsumerExistsError(BusError):
    """The consumer is there, with other settings than it is asked for, or takes what another one is to have."""

    code = "consumer_exists"

    def __init__(self, stream: str, consumer: str, problem: str = "has other settings") -> None:
        self.stream = stream
        self.consumer = consumer
        self.hint = f"use another name, or delete it first: DELETE /api/streams/{stream}/consumers/{consumer}"
        super().__init__(f"the consumer {consumer} of the stream {stream} {problem}")


class IdempotencyError(TektonError):
    """Base of what is answered because of the `Idempotency-Key` of a request. The request was not carried out now."""

    code = "idempotency"


class InvalidIdempotencyKeyError(IdempotencyError):
    """The key is not 1 to 255 visible ASCII characters, or there are several."""

    code = "idempotency_key_invalid"
    hint = "send one key of 1 to 255 visible ASCII characters, such as a random UUID"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key: expected one key of 1 to 255 visible ASCII characters")


class IdempotencyKeyReusedError(IdempotencyError):
    """The same caller has sent another request with this key."""

    code = "idempotency_key_reused"
    hint = "send each request with a key of its own, and repeat it exactly as it was"

    def __init__(self) -> None:
        super().__init__("this key belongs to another request: its method, path, query or body was different")


class RequestRunningError(IdempotencyError):
    """The request with this key is being carried out. Its answer is there when it is asked for later."""

    code = "request_running"

    def __init__(self) -> None:
        super().__init__("the first request with this key is still being carried out")


class OutcomeUnknownError(IdempotencyError):
    """The request was begun, and nobody knows whether it was done: whoever did it was stopped. It is not done again.

    `begun_at` is in wall-clock seconds.
    """

    code = "outcome_unknown"
    hint = (
        "look at what it is about (tekton ps, tekton why) and at the entries of the audit log whose request is the key"
        " (tekton audit); if it is still wanted, send it with a new key"
    )

    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at
        super().__init__("the request was begun, and it is not known whether it was done; it was not done again")


class AnswerNotKeptError(IdempotencyError):
    """The request was carried out, and its answer, with the status `answered`, is not kept: secret, or too large."""

    code = "answer_not_kept"
    hint = "look at what it is about; if it was a token or an API key, revoke it and make another one"

    def __init__(self, answered: int) -> None:
        self.answered = answered
        super().__init__(f"the request was answered with {answered} before; the answer itself is not kept")


class TooManyIdempotencyKeysError(IdempotencyError):
    """There is no room for another key until the oldest are a day old. Nothing was done."""

    code = "too_many_idempotency_keys"
    hint = "send keys only with what must not be done twice"

    def __init__(self, keys: int) -> None:
        self.keys = keys
        super().__init__(f"{keys} keys are remembered already, and each is for a day")


class InvalidTokenError(TektonError):
    """A token or an API key that proves nothing. `reason` is for the log: the sender learns only that it is no good."""

    code = "invalid_token"

    def __init__(self, reason: str) -> None:
        self._reason = reason
        super().__init__("the token is not valid")

    @property
    def reason(self) -> str:
        """What is wrong with it. Never sent to anybody."""
        return self._reason


class KeyLimitError(TektonError):
    """A subject has as many live API keys as it may have. Nothing was changed."""

    code = "key_limit"
    hint = "revoke one of them, or rotate: the old key then ends by itself"

    def __init__(self, subject: str, limit: int) -> None:
        self.subject = subject
        self.limit = limit
        super().__init__(f"{subject} has {limit} live API keys already")


class KeyRotationError(TektonError):
    """The keys that sign tokens cannot be rotated: there is a secret in place of them, or too many still verify."""

    code = "key_rotation"
    hint = "a secret is replaced where it is set, for all at once; without one, Tekton makes keys that rotate"


class TraceNotFoundError(TektonError):
    """No span of that trace is kept: there never was one, or it has been forgotten."""

    code = "trace_not_found"
    hint = "tekton trace ls"

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        super().__init__(f"no trace {trace_id[:64]!r}")


class ApiKeyNotFoundError(TektonError):
    """There is no such API key, or none that the caller may know of."""

    code = "api_key_not_found"
    hint = "tekton auth key list"

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no API key {key_id!r}")


class ProblemError(TektonError):
    """An HTTP API refused, for a reason that has no class of its own here. `status` is that of the answer."""

    pointer: str
    """Leads to what is wrong with a body; there is none unless the answer has one."""

    def __init__(self, status: int, code: str, detail: str, hint: str | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        super().__init__(detail)
