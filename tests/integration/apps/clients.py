"""A FastAPI app as users write it, for tests with real clients and of its log."""

from __future__ import annotations

import logging
import os

from fastapi import FastAPI, Request

from authguard import PUBLIC, AuthGuardMiddleware, Guard, Rule, role
from tests.integration.apps.common import FOR_ADMINS, FOR_ALL, MORE_LOG, bearer, clock

if MORE_LOG in os.environ:
    logging.basicConfig()
    logging.getLogger("authguard").setLevel("INFO")

app = FastAPI()
app.add_middleware(
    AuthGuardMiddleware,
    guard=Guard(bearer(), rules=[Rule("/health", PUBLIC), Rule("/admin/**", role("admin"))], clock=clock),
)


@app.get("/health")
def health() -> str:
    """Public."""
    return FOR_ALL


@app.get("/me")
def me(request: Request) -> str:
    """For every authenticated caller."""
    subject: str = request.user.subject
    return f"hello {subject}"


@app.get("/admin")
def admin() -> str:
    """For admins only."""
    return FOR_ADMINS
