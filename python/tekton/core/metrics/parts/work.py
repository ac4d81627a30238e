"""Agents, what they have to do, and what they say to one another."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "Agents and tasks"

TASK_SECONDS: Final = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
"""The bounds between which tasks are counted."""

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_agents",
        GAUGE,
        "Agents that are known, by what can be expected of them: `usable`, `impaired` (asked only where nobody else "
        "can be), `unusable`.",
        "Who could do something and cannot be asked; `tekton agent ls --health unusable` names them.",
        labels=("health",),
        alert=Alert(
            name="TektonAgentsUnusable",
            when='tekton_agents{health="unusable"} > 0',
            lasting="10m",
            severity="warning",
            summary=(
                "{{ $value }} agents cannot be asked: tekton agent ls --health unusable names them, tekton agent show "
                "says which component they are part of"
            ),
            see="concepts/agents.md#who-can-do-what",
        ),
    ),
    about(
        PART,
        "tekton_tasks_created",
        COUNTER,
        "Tasks that were created, parts of others left out. After 100 types the others are one, `other`.",
        "How much is asked for, and of what kind.",
        labels=("type",),
    ),
    about(
        PART,
        "tekton_tasks_ended",
        COUNTER,
        "Tasks that are over, parts of others left out, by what came of them: `completed`, `failed`, `timeout` (not "
        "done before the deadline), `canceled`, `rejected` (an agent will not do such a thing).",
        "Which kind of task is not done.",
        labels=("type", "outcome"),
        panel='sum by (type, outcome) (rate(tekton_tasks_ended_total{outcome!="completed"}[5m]))',
        alert=Alert(
            name="TektonTasksFail",
            when='sum by (type) (increase(tekton_tasks_ended_total{outcome=~"failed|timeout"}[15m])) > 10',
            lasting="0m",
            severity="warning",
            summary="Tasks of the type {{ $labels.type }} are not done: tekton task ls --state failed says why",
            see="concepts/agents.md#when-it-is-not-done",
        ),
    ),
    about(
        PART,
        "tekton_task_duration",
        HISTOGRAM,
        "Time from the creation of a task to its end, parts of others left out.",
        "Slow kinds of tasks; what they wait for is in it. Its count is the number of tasks that are over.",
        unit="seconds",
        labels=("type",),
        buckets=TASK_SECONDS,
    ),
    about(
        PART,
        "tekton_tasks_open",
        GAUGE,
        "Tasks that are not over, parts of others included, by state. In `input_required` and `auth_required` they "
        "wait for an answer.",
        "What there is to do, and what somebody has to answer.",
        labels=("state",),
        alert=Alert(
            name="TektonTasksWaitForAnswers",
            when='sum by (state) (tekton_tasks_open{state=~"input_required|auth_required"}) > 0',
            lasting="1h",
            severity="warning",
            summary=(
                "{{ $value }} tasks are in the state {{ $labels.state }}: tekton task ls --state {{ $labels.state }} "
                "says what they ask"
            ),
            see="concepts/agents.md#questions",
        ),
    ),
    about(
        PART,
        "tekton_tasks_unattended",
        GAUGE,
        "Open tasks on which nobody works: they were not begun, or an attempt has failed and no other agent is there.",
        "For more than moments: agents are missing, or have too much to do.",
        alert=Alert(
            name="TektonTasksWaitForAgents",
            when="tekton_tasks_unattended > 0",
            lasting="10m",
            severity="warning",
            summary=(
                "{{ $value }} tasks wait and nobody works on them: tekton agent ls shows whether those are usable "
                "who could"
            ),
            see="concepts/agents.md#who-does-it",
        ),
    ),
    about(
        PART,
        "tekton_tasks_oldest_age",
        GAUGE,
        "How long ago the oldest task that is open was created; 0 without one.",
        "It grows: one hangs, or waits for an answer. Its deadline ends it.",
        unit="seconds",
    ),
    about(
        PART,
        "tekton_tasks_open_size",
        GAUGE,
        "What open tasks take in memory, as JSON: inputs, results of steps, artifacts.",
        "Near `tekton.tasks.max_open_size` no task is created, and one that has more to say ends as failed.",
        unit="bytes",
    ),
    about(
        PART,
        "tekton_task_steps",
        COUNTER,
        "Steps that agents have completed, answers to their questions included.",
        "How fast work goes on; each is a write to the disk.",
    ),
    about(
        PART,
        "tekton_task_attempts_failed",
        COUNTER,
        "Attempts of agents at tasks that have failed, by the code of the error. `agent_lost`: nothing was heard of "
        "the agent until its lease was over. Codes that are not Tekton's own are `other`.",
        "A task may be done all the same, by another agent.",
        labels=("code",),
        alert=Alert(
            name="TektonAgentsFail",
            when="sum by (code) (increase(tekton_task_attempts_failed_total[15m])) > 20",
            lasting="0m",
            severity="warning",
            summary=(
                "Agents do not do what they are asked for ({{ $labels.code }}): tekton task show names them, the logs "
                "of their components say why"
            ),
            see="concepts/agents.md#when-it-is-not-done",
        ),
    ),
    about(
        PART,
        "tekton_task_late_answers",
        COUNTER,
        "What agents have said of a task a second time, or when it was over or with somebody else. It was ignored.",
        "Agents that do not notice that nobody asks any more.",
    ),
    about(
        PART,
        "tekton_conversations_begun",
        COUNTER,
        "Conversations that were begun.",
        "Ever more, and faster than usual: somebody begins a new one for each message.",
    ),
    about(
        PART,
        "tekton_conversation_messages",
        COUNTER,
        "Messages that were said in conversations.",
        "How much agents say to one another. All of it is kept until the conversation is forgotten.",
    ),
    about(
        PART,
        "tekton_conversations_forgotten",
        COUNTER,
        "Conversations that were forgotten by their age, `tekton.conversations.conversation_age`.",
        "How many nobody goes on with; those that somebody has deleted do not count.",
    ),
    about(
        PART,
        "tekton_work_available",
        GAUGE,
        "1 while tasks and conversations are taken, 0 when `work.db` cannot be used (`tekton logs tekton` says why).",
        "Whatever is about a task or a conversation is refused meanwhile.",
        alert=Alert(
            name="TektonWorkDown",
            when="tekton_work_available == 0",
            lasting="0m",
            severity="critical",
            summary="`work.db` cannot be used, tasks and conversations are refused: `tekton logs tekton` says why",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_work_full",
        GAUGE,
        "1 while changes of tasks and conversations are refused for want of space.",
        "It ends by itself when there is room.",
        alert=Alert(
            name="TektonWorkFull",
            when="tekton_work_full == 1",
            lasting="1m",
            severity="critical",
            summary="The disk is full and tasks do not go on: make room, nothing has to be restarted",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_work_damaged",
        GAUGE,
        "Tasks, conversations and others in `work.db` that were found damaged since the start. They are gone round.",
        "The disk is failing, or somebody has written to the file. The log names them; a backup has them.",
        alert=Alert(
            name="TektonWorkDamaged",
            when="tekton_work_damaged > 0",
            lasting="0m",
            severity="critical",
            summary="{{ $value }} tasks or conversations in `work.db` are damaged: `tekton logs tekton` names them",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_work_waiting",
        GAUGE,
        "Changes of tasks and conversations that wait for the disk.",
        "It grows: more happens than the disk can take.",
    ),
    about(
        PART,
        "tekton_work_commit_duration",
        HISTOGRAM,
        "How long it took to have a batch of changes of tasks and conversations on the disk, fsync included.",
        "Every step of a task waits for one of these.",
        unit="seconds",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
    ),
)
