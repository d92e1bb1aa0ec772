"""The first schema, in SQLite's types; PostgreSQL's follow from them.

Times are microseconds since 1970, money is picodollars, hashes are BLAKE2b-128.
"""

from typing import Final

TABLES: Final = """
CREATE TABLE writers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the upper bits of every id that this process gives out
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE definitions (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    json TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE stages (
    definition INTEGER NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,                   -- the stage's name where it has no label
    number TEXT,
    phase TEXT,
    position INTEGER NOT NULL,
    kind TEXT,
    each TEXT,                             -- the stage whose items it is mapped over
    axis TEXT NOT NULL,                    -- JSON array of stage names, outermost first
    streams INTEGER NOT NULL,
    text_field TEXT,
    output TEXT,
    schema TEXT,                           -- JSON schema of the output
    prompt_id TEXT,                        -- hash of the template, hexadecimal
    model TEXT,
    step_key TEXT NOT NULL,                -- what stands in a step_id after the run
    PRIMARY KEY (definition, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    definition INTEGER NOT NULL,
    source TEXT NOT NULL,
    input BLOB NOT NULL,                   -- hash of its payload
    settings TEXT NOT NULL,
    tags TEXT NOT NULL,                    -- JSON array
    wish TEXT NOT NULL,
    fence INTEGER NOT NULL,
    parent INTEGER,
    forked_at TEXT,
    created_at INTEGER NOT NULL,
    created_via TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_time ON runs (created_at);

CREATE TABLE drives (
    run INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,                      -- null while driven, and for ever if its process was killed
    PRIMARY KEY (run, fence)
) STRICT, WITHOUT ROWID;

CREATE TABLE steps (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    stage TEXT NOT NULL,
    item TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed_attempt INTEGER NOT NULL,
    fingerprint BLOB,
    reason TEXT,
    warnings TEXT,                         -- JSON array
    reused_from INTEGER,
    started_at INTEGER,                    -- of the first attempt
    begun_at INTEGER,                      -- of the last attempt
    ended_at INTEGER,
    worked INTEGER NOT NULL,               -- microseconds in attempts that ended
    reads TEXT,                            -- JSON object: parameter -> what it was bound to
    UNIQUE (run, stage, item)
) STRICT;

CREATE TABLE attempts (
    step INTEGER NOT NULL,
    number INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    error_type TEXT,
    reason TEXT,
    PRIMARY KEY (step, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    stage TEXT NOT NULL,
    item TEXT NOT NULL,
    version INTEGER NOT NULL,
    first INTEGER NOT NULL,                -- id of version 1: the order of first appearance
    replaces INTEGER,
    content_hash BLOB,                     -- null: removed
    size INTEGER NOT NULL,                 -- bytes of the JSON
    nul_replaced INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT,                             -- null: removed
    UNIQUE (run, stage, item, version)
) STRICT;

CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    step INTEGER,
    attempt INTEGER NOT NULL,
    occurrence INTEGER NOT NULL,
    try_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    fence INTEGER NOT NULL,                -- the run's, when it was sent
    provider TEXT,
    model TEXT,
    model_returned TEXT,
    cost INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cache_read_input_tokens INTEGER,
    cache_creation_input_tokens INTEGER,
    reasoning_output_tokens INTEGER,
    prepared_at INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    received_at INTEGER,                   -- or lost
    parsed_at INTEGER,
    http_status INTEGER,
    finish_reason TEXT,
    price_version TEXT,
    price_source TEXT,
    complaint TEXT,
    error TEXT,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    request_size INTEGER NOT NULL,
    skeleton BLOB,                         -- hash of the payload that holds the body's small parts; null: no body
    response BLOB,                         -- hash of the payload
    request_headers TEXT NOT NULL,
    response_headers TEXT,
    usage TEXT                             -- the provider's own, as it came
) STRICT;
CREATE INDEX exchanges_by_step ON exchanges (run, step);

CREATE TABLE segments (
    exchange INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,                   -- the payload stands before this byte of the skeleton
    payload BLOB NOT NULL,                 -- hash
    PRIMARY KEY (exchange, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE payloads (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,                 -- bytes before encoding
    encoding INTEGER NOT NULL,             -- 0 as it is, 1 zstd, 2 zstd with the raw bytes of `base` as dictionary
    base BLOB,                             -- hashes, 16 bytes each, of the payloads without which it cannot be read
    location TEXT,                         -- file below blobs/; then body is null
    body BLOB
) STRICT;

CREATE TABLE purges (
    count INTEGER NOT NULL                 -- how often payloads were taken away: writers forget what they knew then
) STRICT;
INSERT INTO purges VALUES (0);

CREATE TABLE prompts (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    output INTEGER NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    source TEXT,                           -- JSON: where it stands
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_by_run ON claims (run);

CREATE TABLE scores (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    output INTEGER,
    name TEXT NOT NULL,
    value REAL,
    label TEXT,
    made_by TEXT NOT NULL,
    note TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX scores_by_run ON scores (run);

CREATE TABLE experiments (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    change TEXT NOT NULL,                  -- JSON: what differs
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE experiment_runs (
    experiment INTEGER NOT NULL,
    base INTEGER NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (experiment, base)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    error TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX marks_by_run ON marks (run);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,               -- in the order of commits
    at INTEGER NOT NULL,
    run INTEGER,
    kind TEXT NOT NULL,
    step INTEGER,
    data TEXT                              -- JSON object
) STRICT;
"""
