"""JSON for people to go on editing: what is short stands on one line."""

import json

_WIDTH = 100


def laid_out(value: object, indent: int = 0) -> str:
    """*value* as JSON text; lists, and objects below the second level, stay on one line when they fit."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (len(line) + indent <= _WIDTH and (indent > 4 or isinstance(value, list))):
        return line
    margin = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {laid_out(member, indent + 2)}" for key, member in value.items()]
    else:
        parts = [laid_out(member, indent + 2) for member in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(margin + part for part in parts) + "\n" + " " * indent + closing
