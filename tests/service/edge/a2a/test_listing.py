"""ListTasks goes through all tasks of a caller, however many there are and whatever happens meanwhile."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from a2a_site import Site

from tekton.a2a.task_event import Budget, Canceled, Created

MANY = 1_150


def keep(site: Site, count: int, agent_id: str = "") -> list[str]:
    """Tasks of ada in the log, the last one changed last; every other one is over."""
    ids = [f"{agent_id or 'all'}-{number:05}" for number in range(count)]
    for number, task_id in enumerate(ids):
        created = Created("echo", {}, 2e9, Budget(), task_id, owner="ada", agent_id=agent_id)
        site.plane.work.tasks.append(task_id, [created, *[Canceled()] * (number % 2)], 1000.0 + number)
    return ids


async def pages(site: Site, path: str = "/a2a", **wanted: Any) -> list[Any]:
    found = [await site.ask("ListTasks", wanted, path=path)]
    while token := found[-1]["nextPageToken"]:
        found.append(await site.ask("ListTasks", wanted | {"pageToken": token}, path=path))
    return found


def ids_of(*found: Any) -> list[str]:
    return [task["id"] for page in found for task in page["tasks"]]


async def test_all_tasks_are_on_some_page_once(site: Site) -> None:
    ids = keep(site, MANY)

    found = await pages(site, pageSize=100)

    assert ids_of(*found) == ids[::-1]
    assert {page["totalSize"] for page in found} == {MANY}
    assert ids_of(*await pages(site, pageSize=100, status="TASK_STATE_CANCELED")) == ids[::-1][::2]


async def test_what_is_changed_forgotten_or_new_meanwhile_disturbs_no_other(site: Site) -> None:
    ids, log = keep(site, 60), site.plane.work.tasks
    first = await site.ask("ListTasks", {"pageSize": 21})
    log.append(ids[0], [Canceled()], 5000.0)
    log.delete(ids[39])  # the last one of the first page is where the second one begins
    log.delete(ids[5])
    log.append("new", [Created("echo", {}, 2e9, Budget(), "new", owner="ada")], 6000.0)

    second = await site.ask("ListTasks", {"pageSize": 21, "pageToken": first["nextPageToken"]})
    third = await site.ask("ListTasks", {"pageSize": 21, "pageToken": second["nextPageToken"]})

    assert ids_of(first, second, third) == [id_ for id_ in ids[::-1] if id_ not in (ids[0], ids[5])]
    assert (third["nextPageToken"], third["totalSize"]) == ("", 60)
    assert ids_of(await site.ask("ListTasks", {"pageSize": 2})) == ["new", ids[0]]


async def test_at_its_own_path_an_agent_has_its_own_tasks_however_many_others_there_are(site: Site) -> None:
    of_agent = keep(site, 30, "echo-agent")
    keep(site, MANY)

    found = await pages(site, "/a2a/agents/echo-agent", pageSize=20)

    assert ids_of(*found) == of_agent[::-1]
    assert {page["totalSize"] for page in found} == {30}


@pytest.mark.parametrize(
    "text", ["", "1", "1 1", "x 1 a", "1 x a", "-1 1 a", "1 -1 a", f"{2**63} 1 a", f"1 {2**31} a", "\U0001f600"]
)
async def test_a_token_that_was_not_given_out_is_refused(site: Site, text: str) -> None:
    token = urlsafe_b64encode(text.encode()).decode() or "===="

    answer = await site.rpc("ListTasks", {"pageToken": token})

    assert answer["error"]["code"] == -32602
