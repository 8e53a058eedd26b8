"""An app behind Basic with a password file, in a process without the privileges of root."""

from __future__ import annotations

import ctypes
import logging
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Basic, Guard, HtpasswdFile
from tests.integration.apps.common import USERS

logging.basicConfig()


def give_up_privileges() -> None:
    """Drop the capabilities of root, which could read a file whatever its mode (capset(2))."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, and the current thread
    none = (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


give_up_privileges()  # before a second thread starts, because each thread has its own capabilities
scheme = Basic(HtpasswdFile(os.environ[USERS]), realm="orders", throttle=None)
app = AuthGuardMiddleware(Starlette(routes=[Route("/me", me)]), guard=Guard(scheme))
