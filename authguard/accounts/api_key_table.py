"""The table of API keys in an SQL database, its statements, and what its rows mean.

It needs SQLAlchemy, the extra ``sql``. Let Alembic see the table: ``api_key_table(Base.metadata)`` beside your own
models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    Double,
    Insert,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    Update,
    bindparam,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import Column as SqlColumn

from authguard.accounts.api_key import DIGEST_LENGTH, StoredKey
from authguard.wire.api_key import ID_LENGTH, MAX_LABEL

#: The name of the table by default.
TABLE_NAME = "authguard_api_keys"
#: The least time between two writes of the last use of one key, in seconds, whatever number of workers see it.
WRITTEN_EVERY = 60.0


def api_key_table(metadata: MetaData, *, name: str = TABLE_NAME, schema: str | None = None) -> Table:
    """The table of API keys in this metadata, as ``SqlApiKeys(table=...)`` and Alembic take it.

    Times are seconds since the epoch. Roles, scopes and networks are JSON lists. No column holds a secret.
    """
    return Table(
        name,
        metadata,
        SqlColumn("id", String(ID_LENGTH), primary_key=True),
        SqlColumn("digest", String(DIGEST_LENGTH), nullable=False),
        SqlColumn("owner", Text, nullable=False),
        SqlColumn("name", Text, nullable=False),
        SqlColumn("roles", JSON, nullable=False),
        SqlColumn("scopes", JSON, nullable=False),
        SqlColumn("prefix", String(MAX_LABEL), nullable=False),
        SqlColumn("environment", String(MAX_LABEL), nullable=False),
        SqlColumn("networks", JSON, nullable=False),
        SqlColumn("created", Double, nullable=False),
        SqlColumn("expires", Double),
        SqlColumn("revoked", Double),
        SqlColumn("last_used", Double),
        SqlColumn("successor", String(ID_LENGTH)),
        schema=schema,
    )


class KeyStatements:
    """The statements of one table, which SQLAlchemy compiles once each."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table = api_key_table(MetaData()) if table is None else table
        columns = table.c
        with_id = columns.id == bindparam("key_id")
        changeable = [column.name for column in columns if column.name not in {"id", "last_used"}]
        #: The key of ``key_id``.
        self.find: Select[Any] = select(table).where(with_id)
        #: All keys, the oldest first.
        self.all: Select[Any] = select(table).order_by(columns.created, columns.id)
        #: A new key, with the fields of ``row_of``.
        self.add: Insert = insert(table)
        #: Lock the row of ``key_id`` until the transaction ends: SQLite has no SELECT ... FOR UPDATE.
        self.lock: Update = update(table).where(with_id).values(digest=columns.digest)
        #: The fields of a key that may change. Its last use is not among them: requests write that.
        self.change: Update = (
            update(table).where(with_id).values({name: bindparam(f"new_{name}") for name in changeable})
        )
        used = bindparam("used", type_=Double)
        #: The last use ``used`` of ``key_id``, unless one that is stored is newer or less than a minute older.
        self.last_use: Update = (
            update(table)
            .where(with_id, or_(columns.last_used.is_(None), columns.last_used <= used - WRITTEN_EVERY))
            .values(last_used=used)
        )


def key_of(row: Row[Any]) -> StoredKey:
    """The key of a row."""
    return StoredKey(**row._mapping)  # noqa: SLF001 - the public name that SQLAlchemy gives it


def row_of(key: StoredKey) -> Mapping[str, object]:
    """The values of the row of a key."""
    return {
        "id": key.id,
        "digest": key.digest,
        "owner": key.owner,
        "name": key.name,
        "roles": sorted(key.roles),
        "scopes": sorted(key.scopes),
        "prefix": key.prefix,
        "environment": key.environment,
        "networks": list(key.networks),
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "last_used": key.last_used,
        "successor": key.successor,
    }


def changed_row_of(key: StoredKey) -> Mapping[str, object]:
    """The parameters of the statement that changes a key."""
    values = {f"new_{name}": value for name, value in row_of(key).items() if name not in {"id", "last_used"}}
    return {"key_id": key.id, **values}
