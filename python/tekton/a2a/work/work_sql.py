"""What is asked of the file with the work, in SQL.

* Events stand in the order in which they came, so that those of many tasks fill few pages; an index finds those of one.
  Of a task there is a row beside them, written when it comes and when it is over: what it is in between its events say.
* Messages stand in the order of their places: the number of the conversation, and behind it, in the last 40 bits, that
  of the message. A page of them is read in one go.
* A batch goes in with one statement: each return from C to Python may wait a whole switch interval for a busy event
  loop. It travels as JSON arrays and one blob of all bodies; temporary triggers, which are not in the file, take it
  apart.
* What is deleted loses its name with the commit; its rows go a few at a time.
"""

from typing import Final

FILE_NAME: Final = "work.db"
APPLICATION_ID: Final = 0x54454B57  # "TEKW"
SEQUENCE_BITS: Final = 40
_SEQUENCES: Final = (1 << SEQUENCE_BITS) - 1

_VERSION_1 = """
    CREATE TABLE tasks (
        number INTEGER PRIMARY KEY,
        id TEXT UNIQUE, -- NULL: it was deleted, and its events go by and by
        owner TEXT NOT NULL,
        conversation TEXT NOT NULL,
        type TEXT NOT NULL,
        parent TEXT NOT NULL,
        state TEXT, -- NULL: it is open, and the rest is not known
        changed INTEGER NOT NULL DEFAULT 0, -- microseconds since 1970
        last INTEGER NOT NULL DEFAULT 0 -- the number of its last event
    );
    CREATE INDEX tasks_open ON tasks (number) WHERE state IS NULL;
    CREATE INDEX tasks_owner ON tasks (owner, id);
    CREATE INDEX tasks_conversation ON tasks (conversation, id) WHERE conversation <> '';
    CREATE INDEX tasks_parent ON tasks (parent, id) WHERE parent <> '';
    CREATE TABLE events (
        place INTEGER PRIMARY KEY,
        task INTEGER NOT NULL,
        number INTEGER NOT NULL,
        body TEXT NOT NULL -- [at, epoch, change]
    );
    CREATE UNIQUE INDEX events_task ON events (task, number);
    CREATE TABLE conversations (
        number INTEGER PRIMARY KEY,
        id TEXT UNIQUE, -- NULL: it was deleted, and its messages go by and by
        head TEXT NOT NULL, -- [initiator, participants, created_at]
        changed TEXT NOT NULL, -- seconds since 1970
        last INTEGER NOT NULL -- the number of its newest message
    );
    CREATE TABLE contexts (
        conversation INTEGER PRIMARY KEY,
        context TEXT NOT NULL
    );
    CREATE TABLE participants (
        participant TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (participant, id)
    ) WITHOUT ROWID;
    CREATE TABLE messages (
        place INTEGER PRIMARY KEY,
        body TEXT NOT NULL
    );
    CREATE TABLE message_ids (
        conversation INTEGER NOT NULL,
        id BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (conversation, id)
    ) WITHOUT ROWID;
    CREATE TABLE pushes (
        task INTEGER NOT NULL,
        id TEXT NOT NULL,
        config TEXT NOT NULL,
        delivered INTEGER NOT NULL,
        PRIMARY KEY (task, id)
    ) WITHOUT ROWID;
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        batches INTEGER NOT NULL,
        newest INTEGER NOT NULL -- the place behind which there is no event
    );
    INSERT INTO meta VALUES (1, 0, 0);
"""

_VERSION_2 = """
    -- the bytes of its messages, without those that came before this was counted
    ALTER TABLE conversations ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
    -- how many changes there ever were, about, of those that came before this was counted
    ALTER TABLE meta ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
    UPDATE meta SET changes = newest + (SELECT coalesce(sum(last), 0) FROM conversations);
"""

MIGRATIONS: Final[tuple[str, ...]] = (_VERSION_1, _VERSION_2)
"""The script at position n takes schema n to n + 1. Released scripts are never changed."""

CHANGES: Final = "SELECT changes FROM meta"
"""How many changes there ever were."""

WRITER: Final = f"""
    CREATE TEMP VIEW batch (
        bodies, tasks, events, ended, dead_tasks, pushes,
        conversations, contexts, participants, messages, dead_conversations, changes
    ) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE false;

    CREATE TEMP TRIGGER write_tasks INSTEAD OF INSERT ON batch BEGIN
        UPDATE tasks SET id = NULL WHERE number IN (SELECT value FROM json_each(new.dead_tasks));

        INSERT INTO tasks (number, id, owner, conversation, type, parent) SELECT
            value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM json_each(new.tasks);

        INSERT INTO events (task, number, body) SELECT
            value ->> 0, value ->> 1, CAST(substr(new.bodies, value ->> 2, value ->> 3) AS TEXT)
            FROM json_each(new.events);

        UPDATE tasks SET state = value ->> 1, changed = value ->> 2, last = value ->> 3
            FROM json_each(new.ended) WHERE number = value ->> 0;

        UPDATE meta SET
            batches = batches + 1,
            changes = changes + new.changes,
            newest = (SELECT coalesce(max(place), 0) FROM events);
    END;

    CREATE TEMP TRIGGER write_pushes INSTEAD OF INSERT ON batch WHEN new.pushes IS NOT NULL BEGIN
        DELETE FROM pushes WHERE (task, id) IN (
            SELECT value ->> 0, value ->> 1 FROM json_each(new.pushes) WHERE value ->> 2 IS NULL
        );

        INSERT OR REPLACE INTO pushes SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3
            FROM json_each(new.pushes) WHERE value ->> 2 IS NOT NULL;
    END;

    CREATE TEMP TRIGGER write_conversations INSTEAD OF INSERT ON batch
    WHEN new.conversations IS NOT NULL OR new.dead_conversations IS NOT NULL BEGIN
        UPDATE conversations SET id = NULL WHERE number IN (SELECT value FROM json_each(new.dead_conversations));

        INSERT INTO conversations (number, id, head, changed, last, size)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM json_each(new.conversations) WHERE true
            ON CONFLICT (number) DO UPDATE SET
                id = excluded.id, head = excluded.head, changed = excluded.changed, last = excluded.last,
                size = excluded.size;

        INSERT OR REPLACE INTO contexts SELECT value ->> 0, value ->> 1 FROM json_each(new.contexts);

        DELETE FROM participants WHERE (participant, id) IN (
            SELECT value ->> 0, value ->> 1 FROM json_each(new.participants) WHERE NOT value ->> 2
        );

        INSERT OR IGNORE INTO participants
            SELECT value ->> 0, value ->> 1 FROM json_each(new.participants) WHERE value ->> 2;

        INSERT INTO messages
            SELECT value ->> 0, CAST(substr(new.bodies, value ->> 1, value ->> 2) AS TEXT)
            FROM json_each(new.messages);

        INSERT INTO message_ids
            SELECT value ->> 0 >> {SEQUENCE_BITS}, unhex(value ->> 3, '-'), value ->> 0 & {_SEQUENCES}
            FROM json_each(new.messages);
    END;
"""
"""What a connection needs before it can `WRITE`."""
WRITE: Final = "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

# Opening

BEYOND: Final = f"""
    SELECT 'events behind the last one' FROM meta WHERE newest < (SELECT max(place) FROM events)
    UNION ALL
    SELECT 'messages behind the last one of ' || coalesce(id, 'a conversation that was deleted') FROM conversations AS c
    WHERE EXISTS (
        SELECT 1 FROM messages
        WHERE place > (c.number << {SEQUENCE_BITS}) + c.last AND place < c.number + 1 << {SEQUENCE_BITS}
    )
    LIMIT 1
"""
"""A sign that a page of a table that says how it is was never written."""
NUMBERS: Final = """
    SELECT coalesce((SELECT max(number) FROM tasks), 0), coalesce((SELECT max(number) FROM conversations), 0)
"""
TASKS_BY_OWNER: Final = "SELECT owner, count(*) FROM tasks WHERE id IS NOT NULL GROUP BY owner"
TALKS_BY_INITIATOR: Final = "SELECT head ->> 0, count(*) FROM conversations WHERE id IS NOT NULL GROUP BY 1"
OPEN_TASKS: Final = "SELECT number, id FROM tasks INDEXED BY tasks_open WHERE state IS NULL ORDER BY number"
OPEN_EVENTS: Final = """
    SELECT e.task, e.number, e.body
    FROM tasks AS t INDEXED BY tasks_open CROSS JOIN events AS e INDEXED BY events_task ON e.task = t.number
    WHERE t.state IS NULL ORDER BY t.number, e.number
"""
PUSHES: Final = """
    SELECT config FROM tasks AS t JOIN pushes AS p ON p.task = t.number
    WHERE t.id IS NOT NULL
        AND (t.state IS NULL OR EXISTS (SELECT 1 FROM pushes WHERE task = t.number AND delivered < t.last))
"""
"""All those of each task of which something is still to come."""

# Tidying

_BUT: Final = "number NOT IN (SELECT value FROM json_each(?))"
DEAD_TASKS: Final = f"SELECT number FROM tasks WHERE id IS NULL AND {_BUT} ORDER BY number LIMIT 256"
DEAD_CONVERSATIONS: Final = f"SELECT number FROM conversations WHERE id IS NULL AND {_BUT} ORDER BY number LIMIT 256"
"""What was deleted and is still there, but for some."""
_TASKS: Final = "SELECT value FROM json_each(:numbers)"
BURY_TASKS: Final = f"""
    DELETE FROM events WHERE place IN (SELECT place FROM events WHERE task IN ({_TASKS}) LIMIT :most);
    DELETE FROM pushes WHERE task IN ({_TASKS});
    DELETE FROM tasks WHERE number IN ({_TASKS}) AND NOT EXISTS (SELECT 1 FROM events WHERE task = tasks.number);
"""
_TALKS: Final = "SELECT value AS number FROM json_each(:numbers)"
_MESSAGES: Final = f"place > number << {SEQUENCE_BITS} AND place < number + 1 << {SEQUENCE_BITS}"
BURY_CONVERSATIONS: Final = f"""
    DELETE FROM messages WHERE place IN (SELECT place FROM ({_TALKS}) CROSS JOIN messages ON {_MESSAGES} LIMIT :most);
    DELETE FROM message_ids WHERE (conversation, id) IN (
        SELECT conversation, id FROM message_ids WHERE conversation IN ({_TALKS}) LIMIT :most
    );
    DELETE FROM contexts WHERE conversation IN ({_TALKS});
    DELETE FROM conversations WHERE number IN ({_TALKS}) AND NOT EXISTS (SELECT 1 FROM messages WHERE {_MESSAGES})
        AND NOT EXISTS (SELECT 1 FROM message_ids WHERE conversation = number);
"""

# Tasks

TASK: Final = "SELECT number, last, owner FROM tasks WHERE id = ?"
STATES: Final = """
    SELECT number, id, state FROM tasks WHERE id IN (SELECT value FROM json_each(?)) AND state IS NOT NULL
"""
EVENTS: Final = "SELECT number, body FROM events WHERE task = ? AND number > ? ORDER BY number LIMIT ?"
TASKS: Final = "SELECT number, id, last FROM tasks WHERE id > ? AND state IS NOT NULL ORDER BY id LIMIT ?"
TASKS_OF: Final = """
    SELECT number, id, last FROM tasks WHERE owner = ? AND id > ? AND state IS NOT NULL ORDER BY id LIMIT ?
"""
NUMBERS_UP: Final = "SELECT number, id FROM tasks INDEXED BY sqlite_autoindex_tasks_1 WHERE id > ? ORDER BY id LIMIT ?"
NUMBERS_DOWN: Final = """
    SELECT number, id FROM tasks INDEXED BY sqlite_autoindex_tasks_1
    WHERE id IS NOT NULL AND (:before = '' OR id < :before) ORDER BY id DESC LIMIT :limit
"""
"""Where tasks are, from the index of their ids alone: where a page of them cannot be read, each is read by itself."""
FOUND: Final = """
    SELECT number, id, last FROM tasks WHERE state IS NOT NULL AND id IS NOT NULL{} ORDER BY id DESC LIMIT :limit
"""
"""The tasks that are over, the newest first. There may be conditions in the middle."""
CONDITIONS: Final = {
    "before": "id < :before",
    "owner": "owner = :owner",
    "conversation_id": "conversation = :conversation_id",
    "states": "state IN (SELECT value FROM json_each(:states))",
    "task_type": "type = :task_type",
    "parent_id": "parent = :parent_id",
    "since": "changed >= :since",
    "agent_id": "EXISTS (SELECT 1 FROM events WHERE task = tasks.number AND events.number = 1"
    " AND coalesce(body ->> '$[2].agent_id', '') = :agent_id)",
}
"""By the name of what is asked for."""
OF_NUMBER: Final = "number = :number"
LATEST: Final = """
    SELECT number, id, last, changed FROM tasks WHERE state IS NOT NULL AND id IS NOT NULL{}
    ORDER BY changed DESC, id DESC LIMIT :limit
"""
"""The tasks that are over, those that were changed last first. There may be conditions in the middle."""
BEHIND: Final = "(changed, id) < (:before_changed, :before_id)"
COUNTED: Final = """
    SELECT count(*) FROM tasks
    WHERE state IS NOT NULL AND id IS NOT NULL AND number NOT IN (SELECT value FROM json_each(:but)){}
"""
"""How many tasks are over, but for some. There may be conditions at the end."""
INDEXED: Final = {"conversation_id": "conversation <> ''", "parent_id": "parent <> ''"}
"""What has to be said, where one is asked for, so that SQLite finds the index of those that have any."""

# Conversations

CONVERSATION: Final = """
    SELECT number, head, changed, last, size, context FROM conversations JOIN contexts ON conversation = number
    WHERE id = ?
"""
CHANGED: Final = "SELECT number, id, changed FROM conversations WHERE number > ? AND number <= ? AND id IS NOT NULL"
OF_PARTICIPANT: Final = """
    SELECT id, number, head, changed, last, size, context FROM (
        SELECT id FROM participants WHERE participant = ? AND id > ? ORDER BY id LIMIT ?
    ) JOIN conversations USING (id) JOIN contexts ON conversation = number ORDER BY id
"""
IDS_OF_PARTICIPANT: Final = "SELECT id FROM participants WHERE participant = ? AND id > ? ORDER BY id LIMIT ?"
SEQUENCE: Final = "SELECT sequence FROM message_ids WHERE conversation = ? AND id = unhex(?, '-')"
PAGE: Final = f"""
    SELECT place & {_SEQUENCES}, body FROM messages WHERE place IN (
        SELECT place FROM (
            SELECT place, length, sum(length) OVER (ORDER BY place) AS total FROM (
                SELECT place, octet_length(body) AS length FROM messages
                WHERE place > ? AND place <= ? ORDER BY place LIMIT ?
            )
        ) WHERE total <= ? OR total = length
    ) ORDER BY place
"""

# Pushes

PUSHES_OF_TASK: Final = "SELECT config FROM pushes WHERE task = ? ORDER BY id"


def place(number: int, sequence: int) -> int:
    """Where a message is in the file."""
    return (number << SEQUENCE_BITS) + sequence
