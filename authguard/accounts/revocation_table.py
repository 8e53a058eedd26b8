"""The table of revocations in an SQL database, and its statements.

It needs SQLAlchemy, the extra ``sql``. Let Alembic see the table: ``revocation_table(Base.metadata)`` beside your own
models.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column as SqlColumn
from sqlalchemy import (
    Delete,
    Double,
    Insert,
    MetaData,
    Select,
    String,
    Table,
    Text,
    Update,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)

#: The name of the table by default.
TABLE_NAME = "authguard_revocations"


def revocation_table(metadata: MetaData, *, name: str = TABLE_NAME, schema: str | None = None) -> Table:
    """The table of revocations in this metadata, as ``SqlRevocations(table=...)`` and Alembic take it.

    ``key`` is ``Revocation.key`` in hexadecimal digits. Times are seconds since the epoch, and may be infinite. No
    column holds the id of a session.
    """
    return Table(
        name,
        metadata,
        SqlColumn("key", String(32), primary_key=True),
        SqlColumn("kind", String(16), nullable=False),
        SqlColumn("name", Text),
        SqlColumn("before", Double, nullable=False),
        SqlColumn("expires_at", Double, nullable=False),
        SqlColumn("revoked", Double, nullable=False),
        schema=schema,
    )


class RevocationStatements:
    """The statements of one table, which SQLAlchemy compiles once each."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table = revocation_table(MetaData()) if table is None else table
        columns = table.c
        #: Those of ``keys`` that are revoked.
        self.find: Select[Any, Any] = select(columns.key, columns.before).where(
            columns.key.in_(bindparam("keys", expanding=True))
        )
        #: All, the oldest first.
        self.all: Select[Any] = select(table).order_by(columns.revoked, columns.key)
        #: The next of those that have not ended at ``now`` and were entered ``since``, in the order of their keys.
        self.live: Select[Any, Any, Any] = (
            select(columns.key, columns.before, columns.expires_at)
            .where(
                columns.key > bindparam("after"),
                columns.expires_at > bindparam("now", type_=Double),
                columns.revoked >= bindparam("since", type_=Double),
            )
            .order_by(columns.key)
            .limit(bindparam("most"))
        )
        #: A new one.
        self.add: Insert = insert(table)
        later = {
            name: case(
                (columns[name] < bindparam(f"new_{name}", type_=Double), bindparam(f"new_{name}")), else_=columns[name]
            )
            for name in ("before", "expires_at")
        }
        #: Take the later times of the one that is there and of the new one. It is entered anew, so that who lists the
        #: last ones sees it.
        self.extend: Update = (
            update(table)
            .where(columns.key == bindparam("revoked_key"))
            .values({**later, "revoked": bindparam("new_revoked", type_=Double)})
        )
        #: Those that have ended at ``now``.
        self.prune: Delete = delete(table).where(columns.expires_at <= bindparam("now", type_=Double))
