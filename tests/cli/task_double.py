"""Tasks as the control plane would send them, for the double."""

from typing import Any

Json = dict[str, Any]

TASK = "01a2177f-e312-7a8f-aab1-668f08d591ba"
PART = "01a2177f-e312-7a8f-aab1-668f09732416"
AT = 1_700_000_000.0


def view(state: str = "working", **fields: Any) -> Json:
    """A TaskView."""
    return {
        "task_id": TASK,
        "task_type": "code_review",
        "state": state,
        "inputs": {},
        "owner": "ada",
        "conversation_id": None,
        "parent_id": None,
        "created_at": AT,
        "changed_at": AT + 1,
        "deadline": AT + 3600,
        "number": 3,
        "agent_id": "reviewer" if state == "working" else None,
        "attempts": 1,
        "progress": None,
        "question": None,
        "artifacts": {},
        "parts": [],
        "steps": [],
        "failures": [],
        "result": None,
        "failure": None,
        "retry_of": None,
        **fields,
    }


def part(state: str, **fields: Any) -> Json:
    """A part, as the view of the whole has it."""
    return {
        "name": "check",
        "task_id": PART,
        "task_type": "code_review",
        "state": state,
        "dependencies": [],
        **fields,
    }


def question(text: str = "Which branch?", **fields: Any) -> Json:
    """A question, as a view has it."""
    return {"step": "ask", "question": text, "schema": None, "kind": "input", **fields}


def events(*happened: Any) -> list[tuple[str, Json]]:
    """A stream of events: names, or names with members."""
    told = [(one, {}) if isinstance(one, str) else one for one in happened]
    return [
        (name, {"number": number, "at": AT + number, "epoch": 1, "event": name, **members})
        for number, (name, members) in enumerate(told, 1)
    ]
