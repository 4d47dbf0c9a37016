"""The tables, as the steps from an empty file to the schema of today."""

# Each step is one version of the schema. A step that was released is never changed: a new one is added behind it.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE owners (persona TEXT PRIMARY KEY, owner TEXT NOT NULL, made REAL NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE INDEX owners_by_owner ON owners (owner)",
        """CREATE TABLE chats (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, persona TEXT NOT NULL, version INTEGER NOT NULL,
            title TEXT NOT NULL, created REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX chats_by_owner ON chats (owner, created DESC, id)",
        "CREATE INDEX chats_by_persona ON chats (persona)",
        """CREATE TABLE messages (
            chat TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE, place INTEGER NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('user', 'persona')), text TEXT NOT NULL,
            candidates TEXT NOT NULL, scores TEXT NOT NULL, rating TEXT CHECK (rating IN ('good', 'bad')),
            recalled TEXT NOT NULL, finished INTEGER NOT NULL, version INTEGER NOT NULL, created REAL NOT NULL,
            PRIMARY KEY (chat, place)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE comparisons (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, turns TEXT NOT NULL, lanes TEXT NOT NULL,
            replies TEXT NOT NULL, blind INTEGER NOT NULL, finished INTEGER NOT NULL, created REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX comparisons_by_owner ON comparisons (owner, created DESC, id)",
        """CREATE TABLE votes (
            comparison TEXT PRIMARY KEY REFERENCES comparisons (id) ON DELETE CASCADE, choice TEXT NOT NULL,
            idempotency_key TEXT NOT NULL, created REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE jobs (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, persona TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
            created REAL NOT NULL, ended REAL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX jobs_by_persona ON jobs (persona)",
        """CREATE TABLE job_events (
            job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL,
            data TEXT NOT NULL, PRIMARY KEY (job, number)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE tags (
            persona TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (persona, tag)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE last_uses (persona TEXT PRIMARY KEY, used REAL NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE consents (
            persona TEXT PRIMARY KEY, owner TEXT NOT NULL, given REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
SCHEMA_VERSION = len(STEPS)
