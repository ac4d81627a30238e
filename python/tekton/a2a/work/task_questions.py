"""What the disk is asked for tasks that somebody looks for, in SQL."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from tekton.a2a.task_log import Place, TaskQuery
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.damage import Damage
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.utils.tekton_errors import StorageCorruptError

__all__ = ["Question", "Row", "count_over", "latest_rows", "one_by_one", "only_open", "question_for"]

Row = tuple[int, str, int]
"""A task that is over: its number in the file, its id, the number of its last event."""

_encode = msgspec.json.Encoder().encode


def only_open(query: TaskQuery) -> bool:
    """Are all that it wants in memory?"""
    return query.states is not None and not any(state.over for state in query.states)


class Question(NamedTuple):
    """What is asked of the disk: for *all*, for those *behind* an id, and whether *one* number is; and the values."""

    all: str
    behind: str
    one: str
    values: dict[str, Any]


def question_for(query: TaskQuery) -> Question:
    """How the disk is asked for the tasks that *query* wants."""
    conditions, asked = _conditions(query)
    behind, one = ([*conditions, more] for more in (sql.CONDITIONS["before"], sql.OF_NUMBER))
    return Question(_put(sql.FOUND, conditions), _put(sql.FOUND, behind), _put(sql.FOUND, one), asked)


def latest_rows(
    reader: DatabaseReader, query: TaskQuery, before: Place | None, limit: int
) -> Iterator[tuple[Place, Row]]:
    """The tasks that *query* wants and that are over, those that were changed last first, behind *before*.

    Asks for *limit* at a time, each time O(tasks of the owner).
    """
    conditions, asked = _conditions(query)
    while True:
        behind = [] if before is None else [sql.BEHIND]
        changed, task_id = before or (0, "")
        values = asked | {"before_changed": changed, "before_id": task_id, "limit": limit}
        rows = reader.rows(_put(sql.LATEST, [*conditions, *behind]), values)
        for number, id_, last, at in rows:
            before = at, id_
            yield before, (number, id_, last)
        if len(rows) < limit:
            return


def count_over(reader: DatabaseReader, query: TaskQuery, but: Iterable[int]) -> int:
    """How many tasks *query* wants that are over, without those of the numbers *but*."""
    conditions, asked = _conditions(query)
    values = asked | {"but": _encode(list(but)).decode()}
    ((count,),) = reader.rows(_put(sql.COUNTED, conditions), values)
    return int(count)


def _conditions(query: TaskQuery) -> tuple[list[str], dict[str, Any]]:
    """What *query* asks for, in SQL, and the values."""
    names = [name for name in sql.CONDITIONS if name != "before" and getattr(query, name) is not None]
    asked: dict[str, Any] = {name: getattr(query, name) for name in names}
    if query.states is not None:
        asked["states"] = _encode(sorted(query.states)).decode()
    if query.since is not None:
        asked["since"] = round(query.since * 1e6)
    conditions = [sql.CONDITIONS[name] for name in names]
    conditions += [said for name, said in sql.INDEXED.items() if asked.get(name)]
    return conditions, asked


def _put(question: str, conditions: list[str]) -> str:
    return question.format("".join(f" AND {one}" for one in conditions))


def one_by_one(
    reader: DatabaseReader, places: str, values: Any, question: Question, damage: Damage
) -> tuple[list[Row], str | None]:
    """Those tasks of a page of *places* that *question* wants and that can be read, and the last id of that page.

    Raises StorageCorruptError when *places* cannot be read either.
    """
    rows: list[Row] = []
    try:
        page = reader.rows(places, values)
    except StorageCorruptError as error:
        damage.note("the index of tasks", error)
        raise
    for number, id_ in page:
        try:
            rows += reader.rows(question.one, question.values | {"number": number, "limit": 1})
        except StorageCorruptError as error:
            damage.note(f"the task {id_}", error)
    return rows, page[-1][1] if page else None
