"""What is asked of the file with the streams, in SQL.

Messages of all streams are in one table, in the order of their places: the number of the stream, and behind it, in the
last 40 bits, the sequence. A batch goes in, and a page comes out, with one statement: each return from C to Python may
wait a whole switch interval for a busy event loop. They travel as JSON arrays of their numbers and texts, and one blob
of all bodies; temporary triggers, which are not in the file, take a batch apart.
"""

from typing import Final

APPLICATION_ID: Final = 0x54454B42  # "TEKB"
SEQUENCE_BITS: Final = 40

_VERSION_1 = """
    CREATE TABLE streams (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- given out once
        name TEXT UNIQUE, -- NULL: it was deleted, and its messages go by and by
        settings TEXT NOT NULL,
        messages INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0, -- of all bodies
        last INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0 -- what is up to here is gone, even where it is still there
    );
    CREATE TABLE messages (
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL, -- microseconds since 1970
        subject TEXT NOT NULL,
        reply TEXT,
        body TEXT NOT NULL
    );
    CREATE TABLE ids ( -- of the messages within the windows in which none is stored twice
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        id BLOB NOT NULL
    );
    CREATE INDEX ids_id ON ids (id);
    CREATE TABLE consumers (
        stream INTEGER NOT NULL,
        name TEXT NOT NULL,
        settings TEXT NOT NULL,
        cursor INTEGER NOT NULL,
        pending TEXT NOT NULL, -- [[sequence, attempts], ...]
        redelivered INTEGER NOT NULL,
        dead_letters INTEGER NOT NULL,
        lost INTEGER NOT NULL,
        PRIMARY KEY (stream, name)
    ) WITHOUT ROWID;
    CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), batches INTEGER NOT NULL);
    INSERT INTO meta VALUES (1, 0);
"""

_VERSION_2 = """
    ALTER TABLE consumers ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- '': it is everybody's
"""

MIGRATIONS: Final[tuple[str, ...]] = (_VERSION_1, _VERSION_2)
"""The script at position n takes schema n to n + 1. Released scripts are never changed."""

STORED: Final = "SELECT coalesce(sum(last), 0) FROM streams"
"""How many messages were ever stored, but for those of streams that were deleted."""

WRITER: Final = f"""
    CREATE TEMP VIEW batch (messages, bodies, streams, consumers, removed)
        AS SELECT NULL, NULL, NULL, NULL, NULL WHERE false;

    CREATE TEMP VIEW stream_now (number, messages, size, last, dropped, most, horizon)
        AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE false;

    CREATE TEMP TRIGGER write_batch INSTEAD OF INSERT ON batch BEGIN
        UPDATE meta SET batches = batches + 1;

        INSERT INTO messages SELECT
            value ->> 0, value ->> 1, value ->> 2, value ->> 3,
            CAST(substr(new.bodies, value ->> 4, value ->> 5) AS TEXT)
            FROM json_each(new.messages);

        INSERT INTO ids SELECT value ->> 0, value ->> 1, unhex(value ->> 6, '-') FROM json_each(new.messages);

        INSERT OR REPLACE INTO consumers SELECT
            value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            value ->> 8
            FROM json_each(new.consumers);

        DELETE FROM messages WHERE place IN (SELECT value FROM json_each(new.removed));

        INSERT INTO stream_now SELECT
            value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
            FROM json_each(new.streams);
    END;

    CREATE TEMP TRIGGER write_stream INSTEAD OF INSERT ON stream_now BEGIN
        UPDATE streams SET messages = new.messages, size = new.size, last = new.last, dropped = new.dropped
            WHERE number = new.number;

        DELETE FROM messages WHERE place IN (
            SELECT place FROM messages
            WHERE place > new.number << {SEQUENCE_BITS}
                AND place <= (new.number << {SEQUENCE_BITS}) + new.dropped
            ORDER BY place LIMIT new.most
        );

        DELETE FROM ids WHERE place IN (
            SELECT place FROM (
                SELECT place, at FROM ids
                WHERE place > new.number << {SEQUENCE_BITS} AND place < new.number + 1 << {SEQUENCE_BITS}
                ORDER BY place LIMIT new.most
            ) WHERE at <= new.horizon
        );
    END;
"""
"""What a connection needs before it can `WRITE`."""
WRITE: Final = "INSERT INTO batch VALUES (?, ?, ?, ?, ?)"

STREAMS: Final = """
    SELECT number, name, settings, messages, size, last, dropped,
        (SELECT coalesce(max(at), 0) FROM ids
            WHERE place = (SELECT max(place) FROM ids WHERE place < streams.number + 1 << 40)
                AND place > streams.number << 40)
    FROM streams WHERE name IS NOT NULL ORDER BY name
""".replace("40", str(SEQUENCE_BITS))
CONSUMERS: Final = """
    SELECT name, settings, cursor, pending, redelivered, dead_letters, lost, owner FROM consumers
    WHERE stream = ? ORDER BY name
"""
BEYOND: Final = f"""
    SELECT coalesce(name, '') FROM streams AS s WHERE EXISTS (
        SELECT 1 FROM messages
        WHERE place > (s.number << {SEQUENCE_BITS}) + s.last AND place < s.number + 1 << {SEQUENCE_BITS}
    ) LIMIT 1
"""
"""A stream that has messages behind its last one: a page of the table that says how it is was never written."""

KNOWN_IDS: Final = f"""
    SELECT json_group_array(json_array(one.key, place & {(1 << SEQUENCE_BITS) - 1}))
    FROM json_each(?) AS one CROSS JOIN ids ON ids.id = unhex(one.value ->> 0, '-')
    WHERE place >> {SEQUENCE_BITS} = one.value ->> 1 AND at > one.value ->> 2
"""
OLDEST: Final = """
    SELECT json_group_array(json_array(place & {mask}, octet_length(body), at))
    FROM (SELECT * FROM messages WHERE place > ? AND place <= ? ORDER BY place LIMIT ?)
""".replace("{mask}", str((1 << SEQUENCE_BITS) - 1))
REMOVED: Final = f"""
    SELECT place >> {SEQUENCE_BITS}, count(*), sum(octet_length(body)) FROM messages
    WHERE place IN (SELECT value FROM json_each(?)) GROUP BY 1
"""
PUT_STREAM: Final = """
    INSERT INTO streams (name, settings) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET settings = excluded.settings RETURNING number
"""
DELETE_STREAM: Final = """
    DELETE FROM consumers WHERE stream = :number;
    UPDATE streams SET name = NULL WHERE number = :number;
"""
DELETE_CONSUMER: Final = "DELETE FROM consumers WHERE stream = ? AND name = ?"
STALE: Final = f"""
    SELECT json_group_array(number) FROM json_each(?) AS one JOIN streams ON number = one.value ->> 0
    WHERE EXISTS (
        SELECT 1 FROM messages
        WHERE place > number << {SEQUENCE_BITS} AND place <= (number << {SEQUENCE_BITS}) + dropped
    ) OR (
        SELECT at FROM ids WHERE place > number << {SEQUENCE_BITS} AND place < number + 1 << {SEQUENCE_BITS}
        ORDER BY place LIMIT 1
    ) <= one.value ->> 1
"""
"""The streams that have rows which should go; the question has pairs of a number and the horizon of its ids."""
GRAVE: Final = "SELECT number FROM streams WHERE name IS NULL LIMIT 1"
_SOME: Final = f"""
    SELECT place FROM {{table}}
    WHERE place > :number << {SEQUENCE_BITS} AND place < :number + 1 << {SEQUENCE_BITS} LIMIT :most
"""
BURY: Final = f"""
    DELETE FROM messages WHERE place IN ({_SOME.format(table="messages")});
    DELETE FROM ids WHERE place IN ({_SOME.format(table="ids")});
    DELETE FROM streams WHERE number = :number AND NOT EXISTS ({_SOME.format(table="messages")})
        AND NOT EXISTS ({_SOME.format(table="ids")});
"""

_PACKED: Final = f"""
    SELECT s.last, s.dropped, found.places, found.bodies FROM streams AS s, (
        SELECT
            json_group_array(
                json_array(place & {(1 << SEQUENCE_BITS) - 1}, at, subject, reply, octet_length(body))
            ) AS places,
            CAST(group_concat(body, '') AS BLOB) AS bodies
        FROM (SELECT * FROM messages WHERE place IN ({{places}}) ORDER BY place)
    ) AS found WHERE s.number = :number
"""
_BEHIND: Final = f"(SELECT (number << {SEQUENCE_BITS}) + max(dropped, :after) FROM streams WHERE number = :number)"
PAGE: Final = _PACKED.format(
    places=f"""
    SELECT place FROM (
        SELECT place, length, sum(length) OVER (ORDER BY place) AS total FROM (
            SELECT place, octet_length(body) AS length FROM messages
            WHERE place > {_BEHIND} AND place <= {_BEHIND} + :scanned AND (:glob IS NULL OR subject GLOB :glob)
            ORDER BY place LIMIT :most
        )
    ) WHERE total <= :size OR total = length
    """
)
PICKED: Final = _PACKED.format(places=f"SELECT value FROM json_each(:places) WHERE value > {_BEHIND}")
STATE: Final = "SELECT last, dropped FROM streams WHERE number = ?"
AT: Final = "SELECT place, at FROM messages WHERE place >= ? AND place <= ? ORDER BY place LIMIT 1"
SUBJECTS: Final = """
    SELECT json_group_array(json_array(subject, number)) FROM (
        SELECT subject, count(*) AS number FROM messages WHERE place > ? AND place <= ? GROUP BY subject
    )
"""
SHARES: Final = """
    SELECT json_group_array(json_array(subject, number, size)) FROM (
        SELECT subject, count(*) AS number, sum(octet_length(body)) AS size FROM messages
        WHERE place > ? AND place <= ? GROUP BY subject
    )
"""
OLDEST_OF: Final = """
    SELECT json_group_array(json_array(place & {mask}, size)) FROM (
        SELECT place, octet_length(body) AS size FROM messages
        WHERE place > ? AND place <= ? AND subject = ? ORDER BY place LIMIT ?
    )
""".replace("{mask}", str((1 << SEQUENCE_BITS) - 1))


def place(number: int, sequence: int) -> int:
    """Where a message is in the file."""
    return (number << SEQUENCE_BITS) + sequence


def sequence_of(at: int) -> int:
    """The sequence of the message at a place."""
    return at & ((1 << SEQUENCE_BITS) - 1)
