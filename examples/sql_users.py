"""Users in your own database: Basic with async SQLAlchemy, on SQLite, PostgreSQL or any other supported database.

DATABASE_URL=postgresql+asyncpg://orders@localhost/orders uvicorn examples.sql_users:app
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Request
from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from authguard import Account, AuthGuardMiddleware, BackendUnavailable, Basic, Guard, Rule, UserLookup, role
from authguard.reasons import STORE_UNAVAILABLE


class Table(DeclarativeBase):
    pass


class UserRole(Table):
    __tablename__ = "user_roles"
    user: Mapped[str] = mapped_column(ForeignKey("users.name"), primary_key=True)
    role: Mapped[str] = mapped_column(String(64), primary_key=True)


class User(Table):
    __tablename__ = "users"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    disabled: Mapped[bool] = mapped_column(default=False)
    roles: Mapped[list[UserRole]] = relationship(lazy="selectin")


class SqlUsers:
    def __init__(self, engine: AsyncEngine) -> None:
        self.sessions = async_sessionmaker(engine)

    async def find(self, username: str) -> Account | None:
        """Find an account. This runs for every request, so a role that is removed is lost at once."""
        try:
            async with self.sessions() as session:
                user = await session.scalar(select(User).where(User.name == username))
        except (SQLAlchemyError, OSError) as error:
            # An outage is not the user's fault: 503. The text of the error is not logged, as it may contain addresses.
            raise BackendUnavailable(type(error).__name__, reason=STORE_UNAVAILABLE) from None
        if user is None:
            return None
        roles = {user_role.role for user_role in user.roles}
        return Account(user.name, user.password_hash or "", roles=roles, disabled=user.disabled)

    async def renew(self, account: Account, password_hash: str) -> None:
        """Store a stronger hash after a login, unless the password has been changed in the meantime."""
        unchanged = (User.name == account.subject) & (User.password_hash == account.password_hash)
        async with self.sessions.begin() as session:
            await session.execute(update(User).where(unchanged).values(password_hash=password_hash))


def make_app(engine: AsyncEngine) -> FastAPI:
    users = SqlUsers(engine)
    basic = Basic(UserLookup(users.find), realm="orders", on_rehash=users.renew)
    app = FastAPI(title="orders")
    app.add_middleware(AuthGuardMiddleware, guard=Guard(basic, rules=[Rule("/admin/**", role("admin"))]))

    @app.get("/orders")
    def orders(request: Request) -> dict[str, str]:
        return {"orders of": request.user.subject}

    @app.get("/admin/users")
    def admin(request: Request) -> dict[str, str]:
        return {"asked by": request.user.subject}

    return app


app = make_app(create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///users.db")))
