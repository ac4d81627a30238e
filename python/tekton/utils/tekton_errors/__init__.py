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
    │   ├── AgentLimitError           limit
    │   ├── AgentOfferedError         component_id: whose agent it is
    │   ├── NoAgentAvailableError     wanted, nearest, unusable: agents that could do it, if they were usable
    │   └── AgentUnreachableError     reason
    ├── ConversationError             conversation_id
    │   ├── InvalidConversationError  field, problem
    │   ├── ConversationNotFoundError
    │   ├── ConversationExistsError
    │   ├── NotParticipantError       participant
    │   ├── ConversationFullError     what, limit
    │   └── ConversationLimitError    owner, limit: so many conversations may be of one owner
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
    │   ├── TaskRejectedError         reason
    │   ├── TooManyTasksError         limit, owner, what: as much is open as may be
    │   ├── TaskTypeNotFoundError     task_type
    │   └── TaskTypeLimitError        task_type, limit
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

This package imports nothing else of Tekton, so that every layer (the native extension included) can raise from
the same tree. An error carries fields and builds its own sentence; `code` is the stable name that problem
documents, exit codes and `docs/reference/errors.md` use, `hint` the next thing to try.
"""

from tekton.utils.tekton_errors.agents import (
    AgentError,
    AgentExistsError,
    AgentLimitError,
    AgentNotFoundError,
    AgentOfferedError,
    AgentUnreachableError,
    ConversationError,
    ConversationExistsError,
    ConversationFullError,
    ConversationLimitError,
    ConversationNotFoundError,
    InvalidAgentError,
    InvalidConversationError,
    NoAgentAvailableError,
    NotParticipantError,
)
from tekton.utils.tekton_errors.auth import (
    ApiKeyNotFoundError,
    InvalidTokenError,
    KeyLimitError,
    KeyRotationError,
)
from tekton.utils.tekton_errors.base import (
    TektonError,
)
from tekton.utils.tekton_errors.bus import (
    BusBusyError,
    BusError,
    ConsumerExistsError,
    ConsumerNotFoundError,
    InvalidSubjectError,
    MessageExpiredError,
    MessageTooLargeError,
    NoRespondersError,
    PublishUnknownError,
    ReplyTimeoutError,
    SlowConsumerError,
    StreamConfiguredError,
    StreamNotFoundError,
    StreamOverlapError,
    TooManyHopsError,
    TooManySubscriptionsError,
)
from tekton.utils.tekton_errors.calls import (
    AllInstancesFailedError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    DegradationError,
    FallbackCycleError,
    NoFallbackAvailableError,
    NoUsableInstanceError,
    TransportError,
)
from tekton.utils.tekton_errors.components import (
    ComponentConfiguredError,
    ComponentError,
    ComponentExistsError,
    ComponentNotFoundError,
    CursorExpiredError,
    DependencyError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidRegistrationError,
    RegistryError,
    StaleInstanceError,
    StartTimeoutError,
    TooManyHeartbeatsError,
)
from tekton.utils.tekton_errors.configuration import (
    ConfigurationError,
    Mistake,
)
from tekton.utils.tekton_errors.messages import (
    InvalidContentError,
    InvalidMessageError,
    MalformedMessageError,
    MessageError,
    NoHandlerError,
)
from tekton.utils.tekton_errors.requests import (
    AnswerNotKeptError,
    IdempotencyError,
    IdempotencyKeyReusedError,
    InvalidIdempotencyKeyError,
    OutcomeUnknownError,
    ProblemError,
    RequestRunningError,
    TooManyIdempotencyKeysError,
)
from tekton.utils.tekton_errors.storage import (
    AuditBrokenError,
    BackupError,
    BackupExistsError,
    KeyFileError,
    SchemaVersionError,
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageLockedError,
    StorageUnknownError,
)
from tekton.utils.tekton_errors.supervision import (
    AddressError,
    PortInUseError,
    SpawnError,
    SupervisionError,
)
from tekton.utils.tekton_errors.tasks import (
    InvalidTaskError,
    StaleLeaseError,
    StepUnknownError,
    TaskBudgetError,
    TaskCanceledError,
    TaskConflictError,
    TaskCycleError,
    TaskError,
    TaskExistsError,
    TaskFailedError,
    TaskNotFoundError,
    TaskRejectedError,
    TaskStateError,
    TaskTimeoutError,
    TaskTypeLimitError,
    TaskTypeNotFoundError,
    TooManyTasksError,
)
from tekton.utils.tekton_errors.telemetry import (
    HistoryUnknownError,
    InvalidMetricError,
    MetricError,
    MetricExistsError,
    MetricNotFoundError,
    TraceNotFoundError,
)
from tekton.utils.tekton_errors.tools import (
    AmbiguousToolError,
    InvalidArgumentsError,
    NobodyToAskError,
    ToolBusyError,
    ToolError,
    ToolExistsError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)

__all__ = [
    "AddressError",
    "AgentError",
    "AgentExistsError",
    "AgentLimitError",
    "AgentNotFoundError",
    "AgentOfferedError",
    "AgentUnreachableError",
    "AllInstancesFailedError",
    "AmbiguousToolError",
    "AnswerNotKeptError",
    "ApiKeyNotFoundError",
    "AuditBrokenError",
    "BackupError",
    "BackupExistsError",
    "BulkheadFullError",
    "BusBusyError",
    "BusError",
    "CallTimeoutError",
    "CircuitOpenError",
    "ComponentConfiguredError",
    "ComponentError",
    "ComponentExistsError",
    "ComponentNotFoundError",
    "ConfigurationError",
    "ConsumerExistsError",
    "ConsumerNotFoundError",
    "ConversationError",
    "ConversationExistsError",
    "ConversationFullError",
    "ConversationLimitError",
    "ConversationNotFoundError",
    "CursorExpiredError",
    "DegradationError",
    "DependencyError",
    "FallbackCycleError",
    "HistoryUnknownError",
    "IdempotencyError",
    "IdempotencyKeyReusedError",
    "IllegalTransitionError",
    "InvalidAgentError",
    "InvalidArgumentsError",
    "InvalidContentError",
    "InvalidConversationError",
    "InvalidIdError",
    "InvalidIdempotencyKeyError",
    "InvalidMessageError",
    "InvalidMetricError",
    "InvalidRegistrationError",
    "InvalidSubjectError",
    "InvalidTaskError",
    "InvalidTokenError",
    "KeyFileError",
    "KeyLimitError",
    "KeyRotationError",
    "MalformedMessageError",
    "MessageError",
    "MessageExpiredError",
    "MessageTooLargeError",
    "MetricError",
    "MetricExistsError",
    "MetricNotFoundError",
    "Mistake",
    "NoAgentAvailableError",
    "NoFallbackAvailableError",
    "NoHandlerError",
    "NoRespondersError",
    "NoUsableInstanceError",
    "NobodyToAskError",
    "NotParticipantError",
    "OutcomeUnknownError",
    "PortInUseError",
    "ProblemError",
    "PublishUnknownError",
    "RegistryError",
    "ReplyTimeoutError",
    "RequestRunningError",
    "SchemaVersionError",
    "SlowConsumerError",
    "SpawnError",
    "StaleInstanceError",
    "StaleLeaseError",
    "StartTimeoutError",
    "StepUnknownError",
    "StorageBusyError",
    "StorageCorruptError",
    "StorageError",
    "StorageFullError",
    "StorageLockedError",
    "StorageUnknownError",
    "StreamConfiguredError",
    "StreamNotFoundError",
    "StreamOverlapError",
    "SupervisionError",
    "TaskBudgetError",
    "TaskCanceledError",
    "TaskConflictError",
    "TaskCycleError",
    "TaskError",
    "TaskExistsError",
    "TaskFailedError",
    "TaskNotFoundError",
    "TaskRejectedError",
    "TaskStateError",
    "TaskTimeoutError",
    "TaskTypeLimitError",
    "TaskTypeNotFoundError",
    "TektonError",
    "TooManyHeartbeatsError",
    "TooManyHopsError",
    "TooManyIdempotencyKeysError",
    "TooManySubscriptionsError",
    "TooManyTasksError",
    "ToolBusyError",
    "ToolError",
    "ToolExistsError",
    "ToolFailedError",
    "ToolNotFoundError",
    "ToolTimeoutError",
    "TraceNotFoundError",
    "TransportError",
]
