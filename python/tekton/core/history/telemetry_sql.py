"""What is asked of the telemetry file, in SQL. `{kind}` is one of the kinds, whose table is called so."""

from tekton.core.history.store import KINDS, ROW_BYTES

TABLES = "CREATE TABLE known_since (kind TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;" + "".join(
    f"""
    CREATE TABLE {kind} (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL, -- microseconds since 1970
        key TEXT NOT NULL,
        trace TEXT,
        ends INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX {kind}_at ON {kind} (at);
    CREATE INDEX {kind}_key ON {kind} (key, at);
    CREATE INDEX {kind}_trace ON {kind} (trace) WHERE trace IS NOT NULL;
    INSERT INTO known_since VALUES ('{kind}', :now);
    """
    for kind in KINDS
)

INSERT = """
    INSERT INTO {kind} SELECT
        value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
        CAST(substr(?2, value ->> 5, value ->> 6) AS TEXT)
    FROM json_each(?1)
"""
PACKED = """
    SELECT json_group_array(json_array(at, key, coalesce(trace, ''), ends, seq, octet_length(body))),
        CAST(group_concat(body, '') AS BLOB)
    FROM ({rows})
"""
READ = "SELECT * FROM {kind} WHERE at >= :since AND at < :until {only} ORDER BY at {way}, seq {way} LIMIT :limit"
LATEST = """
    SELECT * FROM {kind}
    WHERE seq IN (SELECT max(seq) FROM {kind} WHERE at BETWEEN ? AND ? GROUP BY key) AND NOT ends ORDER BY key
"""
SIZES = f"SELECT count(*) * {ROW_BYTES} + total(octet_length(body) + octet_length(key)) FROM {{kind}}"
OLD = "SELECT seq FROM {kind} WHERE at < :horizon ORDER BY at LIMIT :most"
SUPERSEDED = """
    SELECT seq FROM {kind} WHERE at < :horizon
        AND (ends OR seq NOT IN (SELECT max(seq) FROM {kind} WHERE at < :horizon GROUP BY key))
    ORDER BY at LIMIT :most
"""
FIRST = "SELECT seq FROM {kind} ORDER BY seq LIMIT :most"
GOING = "CREATE TEMP TABLE going (seq INTEGER PRIMARY KEY)"
CHUNK = "SELECT seq FROM temp.going ORDER BY seq LIMIT ?"
KNOWN = "UPDATE known_since SET at = max(at, ?) WHERE kind = ?"
NTH_TIME = """
    SELECT at FROM {kind} WHERE at >= (SELECT at FROM known_since WHERE kind = '{kind}') ORDER BY at LIMIT 1 OFFSET ?
"""
