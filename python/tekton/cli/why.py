"""The verb why: the chain of causes behind a component's state, with evidence and the next thing to do.

The control plane finds the causes; here they become a tree, the component at the top and the first cause at the bottom.
"""

from collections.abc import Iterator
from typing import Any

import click

from tekton.cli.client import component_path, connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import say_help
from tekton.cli.render import (
    Column,
    ago,
    clean,
    clock_time,
    happening,
    paint_state,
    short_duration,
    table,
    to_json,
)
from tekton.cli.unit_names import UnitNames
from tekton.clock import SYSTEM_CLOCK

Why = dict[str, Any]

_HISTORY = 8  # a restart is seven
_COLUMNS = (Column("AT"), Column("WHEN"), Column("CHANGE"), Column("REASON"))
_UNIT_COLUMNS = (_COLUMNS[0], Column("UNIT"), *_COLUMNS[1:])
_LABEL = 12
_FORCED = "started by force past "  # the reason of what is ready says it already
_MOST_NAMES = 12


@click.command()
@click.argument("name")
@output_options("text", "json")
@target_options
def why(name: str, output: str, target: Target) -> None:
    """Explain why a component is in its state.

    Shows what it waits for or which failure stopped it, down to the first cause; what its probes say and when it is
    restarted; its last transitions and the last lines of its log; and what breaks if it stops.
    """
    client = connect(target)
    found: Why = client.get(component_path(name, "why"))
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    replicated = bool(found["history"]) and client.get(component_path(name))["replicas"] > 1
    for line in explain(found, SYSTEM_CLOCK.time(), UnitNames(client, [name]) if replicated else None):
        click.echo(line)
    _advise(found)


def explain(found: Why, now: float, units: UnitNames | None = None) -> Iterator[str]:
    """The explanation, line by line. *now* in wall-clock seconds; with *units*, the history names its replicas."""
    causes = {cause["component_id"]: cause for cause in found["causes"]}
    yield from _tree(found, causes, now)
    yield from _dependents(found)
    root = first_cause(found)
    if root["evidence"] and root["state"] not in ("ready", "stopped"):
        yield f"\nLast lines of its log ({root['component_id']})"
        yield from (f"  {clean(line)}" for line in root["evidence"])
    if found["history"]:
        yield "\nLast transitions"
        rows = [_history_row(entry, now, units) for entry in found["history"][:_HISTORY]]
        yield from (f"  {line}" for line in table(_COLUMNS if units is None else _UNIT_COLUMNS, rows)[1:])


def first_cause(found: Why) -> Why:
    """What failed by itself; without such a failure the first thing that is waited for, or the component itself."""
    failed = [cause for cause in found["causes"] if cause["state"] == "failed" and not cause["because"]]
    return next(iter([*failed, *found["causes"], found]))


# The tree


def _tree(found: Why, causes: dict[str, Why], now: float) -> Iterator[str]:
    yield _sentence(found, now)
    facts = [*_probes(found), *_restart(found["restart"]), *_forgotten(found), *_served(found, now)]
    yield from (f"  {label:<{_LABEL}}{text}" for label, text in facts)
    told: set[str] = set()
    blockers = dict.fromkeys([*found["failed_dependencies"], *found["waiting_for"]])
    yield from _branches(list(blockers), causes, now, 1, told)


def _branches(names: list[str], causes: dict[str, Why], now: float, depth: int, told: set[str]) -> Iterator[str]:
    for name in names:
        cause = causes.get(name)
        if cause is None or name in told:
            continue
        told.add(name)
        indent = "  " * depth
        yield f"{indent}because {_sentence(cause, now)}"
        yield from (f"{indent}  {label:<{_LABEL}}{text}" for label, text in _restart(cause["restart"]))
        yield from _branches(cause["because"], causes, now, depth + 1, told)


def _sentence(found: Why, now: float) -> str:
    if found["state"] is None:
        return f"{found['component_id']} is unknown: nobody has registered or configured it"
    since = f" ({ago(now - found['since'])})" if found["since"] is not None else ""
    return f"{found['component_id']} is {paint_state(found['state'], found['state'])}{since}{_reason(found)}"


def _reason(found: Why) -> str:
    if found["reason"]:
        own_name = f"{found['component_id']} cannot start: "
        return f": {clean(found['reason']).removeprefix(own_name)}"
    if found.get("failed_dependencies"):
        return f": it needs {', '.join(found['failed_dependencies'])}"
    waiting = found.get("waiting_for", found.get("because"))
    if waiting:
        return f": waiting for {', '.join(waiting)}"
    return f": waiting for {clean(found['phase'])}" if found.get("phase") else ""


def _probes(found: Why) -> Iterator[tuple[str, str]]:
    for check in found.get("health", ()):
        finding = check["reason"] or check["finding"]
        verdict = "well" if check["healthy"] else "unwell"
        if check["healthy"] and check["failing"]:
            verdict = f"failing {check['failing']} of {check['failures']}"
        took = f", in {check['latency'] * 1000:.0f} ms" if check["latency"] is not None else ""
        age = f" ({ago(check['age'])}{took})" if check["age"] is not None else ""
        label = "probe" if check["role"] == "check" else check["role"]
        yield label, f"{clean(check['name'])}: {verdict}{age}{f': {clean(finding)}' if finding else ''}"
    if found.get("forced_past") and not (found["reason"] or "").startswith(_FORCED):
        yield "by force", f"started past {', '.join(found['forced_past'])}, which could not be used"
    if found.get("cycle"):
        yield "cycle", " -> ".join([*found["cycle"], found["cycle"][0]])
    for name in found.get("leaked", ()):
        yield "left over", clean(name)


def _restart(plan: Why | None) -> Iterator[tuple[str, str]]:
    if plan is not None and plan.get("held"):
        yield "restart", "held: not before somebody starts it"
        return
    if plan is None or (plan["attempt"] == 0 and plan["next_in"] is None and not plan["gave_up"]):
        return
    count = f"{plan['attempt']} of {plan['max']}"
    if plan["gave_up"]:
        yield "restart", f"given up after {count}"
    elif plan["next_in"] is None:
        yield "restart", f"attempt {count}"
    else:
        yield "restart", f"attempt {count} in {short_duration(plan['next_in'])}"


def _forgotten(found: Why) -> Iterator[tuple[str, str]]:
    if found.get("forget_in") is not None:
        yield "forgotten", f"in {short_duration(found['forget_in'])}, unless it comes back"


def _served(found: Why, now: float) -> Iterator[tuple[str, str]]:
    name = found["component_id"]
    for one in found.get("served", ()):
        who = ", ".join(one["served_by"]) or "nobody"
        if one["state"] != "normal" and one.get("since") is not None:
            who += f" ({ago(now - one['since'])})"
        if any(each["component"] == name for each in one["fallbacks"]):
            yield "fallback", f"for {one['capability']}, served by {who}"
        else:
            left = _behind(one)
            behind = f"; behind it: {', '.join(left)}" if left else ""
            yield "capability", f"{one['capability']} is served by {who}{behind}"


def _behind(service: Why) -> list[str]:
    """The fallbacks that are next. Those before the one that serves cannot be used, or they would."""
    chain = [each["component"] for each in service["fallbacks"]]
    if service["state"] == "fallback":
        return chain[chain.index(service["served_by"][0]) + 1 :]
    return chain if service["state"] == "normal" else []


def _dependents(found: Why) -> Iterator[str]:
    if found["awaited_by"]:
        yield f"  {'awaited by':<{_LABEL}}{_some(found['awaited_by'])}"
    if found["affected"]:
        yield f"  {'if it stops':<{_LABEL}}{_some([_affected(one) for one in found['affected']])}"


def _some(names: list[str]) -> str:
    """*names*, as far as anybody reads them."""
    left = len(names) - _MOST_NAMES
    return ", ".join(names) if left <= 0 else f"{', '.join(names[:_MOST_NAMES])} and {left} more"


def _affected(one: Why) -> str:
    name: str = one["component_id"]
    return f"{name} (through {one['through']})" if one["through"] else name


def _history_row(entry: dict[str, Any], now: float, units: UnitNames | None) -> list[str]:
    unit = [] if units is None else [units.of(entry)]
    return [clock_time(entry["at"]), *unit, ago(now - entry["at"]), happening(entry), clean(entry["reason"] or "")]


def _advise(found: Why) -> None:
    root = first_cause(found)
    name = root["component_id"]
    if found.get("cycle"):
        say_help("take one of these dependencies out of the configuration, then tekton reload")
    elif root["state"] == "failed":
        plan = root["restart"]
        soon = plan is not None and plan["next_in"] is not None
        say_help(f"tekton logs {name}" if soon else f"tekton logs {name}, then tekton restart {name}")
    elif root["state"] == "stopped" or (root["state"] == "unknown" and not root.get("phase")):
        say_help(f"tekton start {name}")
    elif root["state"] is None:
        say_help(f"add {name} to components.json, or start what registers it")
