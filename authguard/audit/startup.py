"""The audit at start-up, when an app has all its routes: it warns of unintended openings, or refuses to start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import groupby
from typing import Any

import anyio.to_thread

from authguard.audit.audit import audit_inner
from authguard.audit.certificate_sender import about_certificate_senders
from authguard.audit.findings import Finding, check_ignore
from authguard.audit.report import finding_count
from authguard.audit.workers import about_workers
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.model import Denied
from authguard.reasons import BACKEND_FAILED
from authguard.records.record import exception_facts, format_value, log, log_failure

# An app that is not strict warns of these, and of findings that say so (``Finding.opens``): each makes something more
# open than the code suggests.
_WARNED_OF = ("file.alias", "identity.client", "lock.bypassed", "lock.covered", "open.hosts", "open.wide")


#: The attribute of an app that holds a function to call when it starts.
AT_START = "__authguard_at_start__"


class StartupAudit:
    """Audits the app inside a guard once: when its lifespan has started, or else with the first request.

    The audit runs in a thread, because it takes half a second for two thousand routes. A strict app serves nothing
    before it has ended, so its first requests wait. In an app that is not strict only the first request waits.

    ``strict``: whether the app must not start if there is a finding, or if the audit itself fails. ``ignore``: accepted
    findings, as for ``audit``. ``preflight_passes``: whether the guard lets every preflight pass. Raises
    ``ConfigurationError``.
    """

    def __init__(
        self, app: object, guard: Guard, *, strict: bool, ignore: Collection[str], preflight_passes: bool = False
    ) -> None:
        if not isinstance(strict, bool):
            raise ConfigurationError("strict", f"{strict!r} is neither True nor False; ignore=[...] accepts findings")
        self._strict, self._guard, self._accepted = strict, guard, check_ignore(ignore)
        self._audit_inner = partial(audit_inner, app, guard, ignore=self._accepted, preflight_passes=preflight_passes)
        #: Whether requests may pass: the audit has been made, or can keep nobody out.
        self.passed = False
        self._problem: ConfigurationError | None = None
        self._is_done = False
        self._is_logged = False
        self._has_seen_workers = False
        # Held by the thread that makes the audit; those of the other requests wait for it.
        self._auditing = ForkSafeLock()

    async def problem(self, scope: Mapping[str, Any]) -> ConfigurationError | None:
        """Why the app must not start, if so. The first call makes the audit. ``scope`` is of a request or lifespan."""
        if not self._strict:
            self.passed = True
        if not self._is_done:
            self._warn_of_server()
            enclosing = scope.get("app")
            try:
                # The thread goes on if the request is cancelled: the next one needs the same audit.
                await anyio.to_thread.run_sync(self._audit_once, enclosing, abandon_on_cancel=True)
            except RuntimeError:  # the system has no thread left, or the event loop is neither asyncio nor trio
                self._audit_once(enclosing)
        return self._problem

    async def refusal(self, scope: Mapping[str, Any]) -> Denied | None:
        """The denial of a request to an app that must not start. The first call logs an ERROR with the findings."""
        problem = await self.problem(scope)
        if problem is None:
            return None
        if not self._is_logged:
            self._is_logged = True
            log.error("%s", problem)
        return Denied(BACKEND_FAILED, facts={"problem": "strict=True, and the audit has findings"})

    def _audit_once(self, enclosing: object) -> None:
        with self._auditing:
            if not self._is_done:
                at_start: Callable[[], None] | None = getattr(enclosing, AT_START, None)
                if at_start is not None:
                    at_start()
                self._problem = self._audit(enclosing)
                self._is_done = True
                self.passed = self._problem is None

    def _audit(self, enclosing: object) -> ConfigurationError | None:
        try:
            findings = self._audit_inner(enclosing=enclosing).findings
        except Exception as error:  # noqa: BLE001 - an object of the app may raise on any attribute
            if self._strict:
                facts = "".join(f" {name}={format_value(fact)}" for name, fact in exception_facts(error).items())
                return ConfigurationError("strict", f"the audit failed:{facts}")
            log_failure("the audit", error)
            return None
        if self._strict and findings:
            head = f"strict=True, and the audit has {finding_count(findings)}:"
            hint = f'To accept a finding, pass ignore=["{findings[0].key}"].'
            return ConfigurationError("authguard", "\n  ".join([head, *map(str, findings), hint]))
        warned = (finding for finding in findings if finding.code in _WARNED_OF or finding.opens)
        warnings = sorted(warned, key=_code)
        for _, findings_of_code in groupby(warnings, key=_code):
            _warn(list(findings_of_code))
        return None

    def _warn_of_server(self) -> None:
        # Never a reason not to start: an app that starts in one process, as in its tests, must start in several too.
        # In this thread, where the server is found among the callers.
        if self._has_seen_workers:
            return
        self._has_seen_workers = True
        try:
            found = (*about_workers(self._guard), *about_certificate_senders(self._guard))
            findings = [finding for finding in found if not finding.ignore_entries & self._accepted]
        except Exception as error:  # noqa: BLE001 - a store of the app may raise on any attribute
            log_failure("the look at the server", error)
        else:
            if findings:
                _warn(findings)


def _code(finding: Finding) -> str:
    return finding.code


def _warn(findings: list[Finding]) -> None:
    log.warning("\n  ".join(["%s"] * len(findings)), *findings)
