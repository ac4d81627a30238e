"""Names on the command line: `@backend` stands for all components of the group backend."""

from collections.abc import Iterable, Mapping, Sequence

from tekton.cli.client import Client
from tekton.utils.tekton_errors import ComponentNotFoundError
from tekton.utils.tekton_ids import nearest_name


def expand(names: Iterable[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """*names* with every `@group` replaced by its members, each name once. *groups* maps components to their groups.

    Raises ComponentNotFoundError for a group that nobody belongs to.
    """
    expanded: dict[str, None] = {}
    for name in names:
        expanded |= dict.fromkeys(_members(name[1:], groups) if name.startswith("@") else (name,))
    return tuple(expanded)


def expand_running(client: Client, names: tuple[str, ...]) -> tuple[str, ...]:
    """`expand` with the groups that the control plane knows; it is asked only when a group is named."""
    if not any(name.startswith("@") for name in names):
        return names
    views = client.get("/api/system")["components"]
    return expand(names, {view["component_id"]: view.get("groups", ()) for view in views})


def _members(group: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    members = [name for name, theirs in groups.items() if group in theirs]
    if not members:
        known = {f"@{one}" for theirs in groups.values() for one in theirs}
        raise ComponentNotFoundError(f"@{group}", nearest_name(f"@{group}", known))
    return members
