"""A hook that writes decisions to a file, one JSON object a line, for ``authguard replay``."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from authguard.errors import ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.model import Decision, Denied, Principal, claims_to_read, given_roles
from authguard.records.record import DecisionHook, Stage, log
from authguard.request import AuthRequest
from authguard.validation import check_int

#: The longest line, in bytes, and the longest texts in it, in characters before they are escaped.
MAX_LINE = 65_536
MAX_PATH, MAX_NAME, MAX_NAMES = 2048, 256, 4096

_MIN_KEY = 16
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class DecisionFile(DecisionHook):
    """``Guard(..., hooks=[DecisionFile("decisions.jsonl")])`` writes each decision with what judging it again needs.

    - ``path``: the file. It is made by the first decision, with mode 0600, and opened for each line, so that it can be
      moved away at any time.
    - ``hash_subjects``: a secret key of 16 bytes or more. The subjects are then replaced by their HMAC-SHA256.
    - ``max_bytes``: how long the file may become. Strangers make lines too.

    A line has the method, the path, the names of the scheme, the subject, roles and scopes, ``acr``, ``auth_time`` and
    ``expires_at``, and what was decided under which rule. It has no credentials, no query and no other claim. A file
    that cannot be written changes no response, and is told at ERROR once. Raises ``ConfigurationError``.
    """

    __slots__ = ("_key", "_lock", "_max_bytes", "_path", "_told", "_torn")

    def __init__(
        self, path: str | Path, *, hash_subjects: bytes | str | None = None, max_bytes: int = 1_073_741_824
    ) -> None:
        if not isinstance(path, str | Path) or not str(path):
            raise ConfigurationError("path", f"{path!r} is not the path of a file")
        self._path = Path(path)
        self._key = hash_subjects.encode() if isinstance(hash_subjects, str) else hash_subjects
        if self._key is not None and (not isinstance(self._key, bytes) or len(self._key) < _MIN_KEY):
            raise ConfigurationError("hash_subjects", "give a secret key of 16 bytes or more: authguard secret")
        self._max_bytes = check_int("max_bytes", max_bytes, least=MAX_LINE, most=2**50, unit="bytes")
        self._told = self._torn = False
        self._lock = ForkSafeLock()

    def __repr__(self) -> str:
        return f"DecisionFile({str(self._path)!r})"

    def write(self, request: AuthRequest, decision: Decision, rule: str | None, stage: Stage) -> None:
        """Append one line."""
        line = json.dumps(self._line(request, decision, rule, stage), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                self._tell(error.strerror or type(error).__name__)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(line) > self._max_bytes:
                self._tell(f"it has {self._max_bytes} bytes; move it away, or raise max_bytes")
                return
            # One call for each line, so that those of several processes do not mix.
            whole = b"\n" + line if self._torn else line
            self._torn = os.write(descriptor, whole) < len(whole)
            if self._torn:
                self._tell("the disk is full")
        finally:
            os.close(descriptor)

    def _tell(self, problem: str) -> None:
        if not self._told:
            self._told = True
            with suppress(Exception):  # a logging filter or handler of the app may raise
                log.error(
                    "decisions cannot be written to %s: %s. Requests go on, and their decisions are not in it.",
                    self._path,
                    problem,
                    extra={"authguard.event": "failed"},
                )

    def _line(self, request: AuthRequest, decision: Decision, rule: str | None, stage: Stage) -> dict[str, object]:
        cut: list[str] = []
        method = "WEBSOCKET" if request.kind == "websocket" else request.method
        principal = decision.principal
        line: dict[str, object] = {
            "v": 1,
            "at": request.moment.now,
            "method": _short("method", method, MAX_NAME, cut),
            "path": _short("path", request.path, MAX_PATH, cut),
            "outcome": "granted",
            "stage": stage,
            "rule": rule,
            "requirement": None,
        }
        if request.kind == "http" and method == "WEBSOCKET":
            line["method"] = ""  # no rule may take it for a handshake
        with suppress(Exception):  # the app may have written the requirement
            line["requirement"] = str(decision.requirement)[:MAX_NAME]
        proven = None if principal is None else principal.subject
        if isinstance(decision, Denied):
            cause = decision.facts.get("cause") if decision.reason.code == "login.required" else None
            reason = cause if isinstance(cause, str) else decision.reason.code
            line |= {
                "outcome": "denied" if decision.enforced else "would_deny",
                "reason": reason[:MAX_NAME],
                "scheme": decision.scheme,
            }
            if principal is None and decision.authenticated:
                proven = decision.subject
        if proven is not None:
            line["subject"] = self._subject(proven, cut)
            line["hashed"] = self._key is not None
        if principal is not None:
            line |= _judged(principal, cut)
        if cut:
            line["cut"] = cut
        return line

    def _subject(self, subject: str, cut: list[str]) -> str:
        if self._key is None:
            return _short("subject", subject, MAX_NAME, cut)
        return hmac.digest(self._key, subject.encode("utf-8", "surrogatepass"), hashlib.sha256)[:16].hex()


def _judged(principal: Principal, cut: list[str]) -> dict[str, object]:
    """What a requirement may read of a principal."""
    judged: dict[str, object] = {
        "scheme": principal.scheme,
        "roles": _names("roles", given_roles(principal), cut),
        "scopes": _names("scopes", principal.scopes, cut),
        "expires_at": principal.expires_at,
    }
    claims = claims_to_read(principal)
    acr: Any = claims.get("acr")
    auth_time: Any = claims.get("auth_time")
    # Any other type fulfils no requirement, and neither does null.
    judged["acr"] = _short("acr", acr, MAX_NAME, cut) if isinstance(acr, str) else None
    is_time = isinstance(auth_time, int | float) and not isinstance(auth_time, bool) and abs(auth_time) < 1e15
    judged["auth_time"] = auth_time if is_time else None
    return judged


def _short(name: str, text: str, most: int, cut: list[str]) -> str:
    if len(text) > most:
        cut.append(name)
    return text[:most]


def _names(name: str, names: Iterable[str], cut: list[str]) -> list[str]:
    """The names in their order, as many as fit."""
    kept, room = [], MAX_NAMES
    for each in sorted(names):
        room -= len(each) + 4
        if room < 0:
            cut.append(name)
            break
        kept.append(each)
    return kept
